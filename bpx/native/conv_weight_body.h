/* One element type (each_type.h). Included by conv_weight.c. */

typedef struct {
    const T *wide, *narrow;
    T *out, *total; /* total (O), or NULL: the sum of `narrow` over rows and places */
    bpx_conv_sizes sizes;
} FN(ConvWeightCall);

typedef struct {
    const FN(ConvWeightCall) *call;
    A *packed;  /* (batch, groups, panels, places, PANEL) */
    A *sums;    /* (splits, groups, ins taps, panels PANEL) */
    A *totals;  /* (batch, groups, outs), or NULL */
    A *lines;   /* a part for each chunk: (ROWS, planes, lines, width) */
    int64_t panels, splits, parts, line_elements;
    int64_t block, span; /* lines, and places of a line, that are taken at a time */
} FN(ConvWeight);

static void FN(conv_pack_task)(void *state, int64_t chunk) {
    const FN(ConvWeight) *w = state;
    const bpx_conv_sizes *s = &w->call->sizes;
    const int64_t places = bpx_volume(s->narrow);
    for (int64_t p = 0; p < w->panels; p++) {
        const int64_t first = p * FN(PANEL), left = s->outs - first;
        FN(conv_pack)(w->call->narrow + (chunk * s->outs + first) * places,
                      w->packed + (chunk * w->panels + p) * places * FN(PANEL), places,
                      left < FN(PANEL) ? left : FN(PANEL));
    }
    for (int64_t o = chunk * s->outs; w->totals != NULL && o < (chunk + 1) * s->outs; o++)
        w->totals[o] = FN(conv_total)(w->call->narrow + o * places, places);
}

#if defined(__GNUC__)
/* out[r, :] += sum over lines and their places of left[r][line, place] packed[line, place, :], for
 * `rows` rows and `vectors` vectors, both known when this is compiled into its caller. */
BPX_INLINE void FN(conv_tile)(const int rows, const int vectors, int64_t lines, int64_t width,
                              const A *const *left, int64_t line_step, int64_t step, const A *packed,
                              A *out, int64_t out_step) {
    FN(conv_vector) sum[ROWS][2];
    const A *from[ROWS];
    for (int r = 0; r < rows; r++) {
        from[r] = left[r];
        for (int v = 0; v < vectors; v++)
            sum[r][v] = *(const FN(conv_vector) *)(out + r * out_step + v * FN(LANES));
    }
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t k = 0, at = 0; k < width; k++, at += step) {
            FN(conv_vector) right[2];
            for (int v = 0; v < vectors; v++)
                right[v] = *(const FN(conv_vector) *)(packed + v * FN(LANES));
            packed += FN(PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++) sum[r][v] += from[r][at] * right[v];
        }
        for (int r = 0; r < rows; r++) from[r] += line_step;
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            *(FN(conv_vector) *)(out + r * out_step + v * FN(LANES)) = sum[r][v];
}
#else
BPX_INLINE void FN(conv_tile)(const int rows, const int vectors, int64_t lines, int64_t width,
                              const A *const *left, int64_t line_step, int64_t step, const A *packed,
                              A *out, int64_t out_step) {
    for (int64_t line = 0; line < lines; line++)
        for (int64_t k = 0; k < width; k++, packed += FN(PANEL))
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < vectors * FN(LANES); i++)
                    out[r * out_step + i] += left[r][line * line_step + k * step] * packed[i];
}
#endif

#define TILE(rows, vectors)                                                                        \
    for (; r + rows <= count; r += rows)                                                           \
    FN(conv_tile)(rows, vectors, lines, width, left + r, line_step, step, right, to + r * out_step, \
                  out_step)

/* One panel for `count` rows; `half`: its second vector is empty. */
BPX_CLONES static void FN(conv_rows)(int half, int64_t count, int64_t lines, int64_t width,
                                     const A *const *left, int64_t line_step, int64_t step,
                                     const A *packed, A *out, int64_t out_step) {
    const A *right = packed;
    A *to = out;
    if (half) {
        int64_t r = 0;
        if (bpx_many_registers()) TILE(8, 1);
        TILE(4, 1);
        TILE(2, 1);
        TILE(1, 1);
        return;
    }
    if (bpx_many_registers()) {
        int64_t r = 0;
        TILE(8, 2);
        TILE(4, 2);
        TILE(2, 2);
        TILE(1, 2);
        return;
    }
    for (int vector = 0; vector < 2; vector++, right += FN(LANES), to += FN(LANES)) {
        int64_t r = 0;
        TILE(4, 1);
        TILE(2, 1);
        TILE(1, 1);
    }
}

#undef TILE

/* What `count` lines of `narrow` from (z, y), `span` places of each from x, add to a block's sums. */
static void FN(conv_block)(const FN(ConvWeight) *w, int64_t image, int64_t first, int64_t channels,
                           const int64_t *start, int64_t count, int64_t span, A *lines, A *sums) {
    const FN(ConvWeightCall) *c = w->call;
    const bpx_conv_sizes *s = &c->sizes;
    const int64_t taps = bpx_volume(s->window), columns = w->panels * FN(PANEL);
    const int64_t reach = bpx_reach(s, 1, count), width = bpx_reach(s, 2, span);
    const int64_t one = s->window[0] * reach * width;
    for (int64_t k = 0; k < channels; k++)
        FN(conv_lines)(s, c->wide + (image * s->ins + first + k) * bpx_volume(s->wide),
                       start[0] * s->stride[0] - s->low[0], start[1] * s->stride[1] - s->low[1],
                       start[2] * s->stride[2] - s->low[2], s->window[0], reach, width,
                       lines + k * one);
    const int64_t places = bpx_volume(s->narrow);
    const int64_t place = (start[0] * s->narrow[1] + start[1]) * s->narrow[2] + start[2];
    const A *rows[ROWS];
    int64_t n = 0, at = 0;
    int64_t k = 0, tap[AXES] = {0}; /* of row r: the channel, and the place in the window */
    for (int64_t r = 0; r < channels * taps; r++) {
        rows[n++] = lines + k * one + (tap[0] * reach + tap[1] * s->dilation[1]) * width +
                    tap[2] * s->dilation[2];
        if (++tap[2] == s->window[2]) tap[2] = 0, tap[1]++;
        if (tap[1] == s->window[1]) tap[1] = 0, tap[0]++;
        if (tap[0] == s->window[0]) tap[0] = 0, k++;
        if (n < ROWS && r + 1 < channels * taps) continue;
        for (int64_t p = 0; p < w->panels; p++)
            FN(conv_rows)(s->outs - p * FN(PANEL) <= FN(LANES), n, count, span, rows, s->stride[1] * width, s->stride[2],
                          w->packed + ((image * w->panels + p) * places + place) * FN(PANEL),
                          sums + at * columns + p * FN(PANEL), columns);
        at += n, n = 0;
    }
}

/* A chunk is a group's block of channels of `wide`, and one part of the batch. */
static void FN(conv_weight_task)(void *state, int64_t chunk) {
    const FN(ConvWeight) *w = state;
    const bpx_conv_sizes *s = &w->call->sizes;
    const int64_t rows = s->ins * bpx_volume(s->window), columns = w->panels * FN(PANEL);
    const int64_t split = chunk % w->splits, part = chunk / w->splits % w->parts;
    const int64_t group = chunk / w->splits / w->parts, first = part * ROWS;
    const int64_t channels = s->ins - first < ROWS ? s->ins - first : ROWS;
    const int64_t row = (split * s->groups + group) * rows + first * bpx_volume(s->window);
    A *sums = w->sums + row * columns, *lines = w->lines + chunk * w->line_elements;
    for (int64_t i = 0; i < channels * bpx_volume(s->window) * columns; i++) sums[i] = 0;
    const int64_t last = bpx_first_row(split + 1, w->splits, s->batch);
    int64_t at[AXES];
    for (int64_t b = bpx_first_row(split, w->splits, s->batch); b < last; b++)
        for (at[0] = 0; at[0] < s->narrow[0]; at[0]++)
            for (at[1] = 0; at[1] < s->narrow[1]; at[1] += w->block)
                for (at[2] = 0; at[2] < s->narrow[2]; at[2] += w->span) {
                    const int64_t count = s->narrow[1] - at[1], span = s->narrow[2] - at[2];
                    FN(conv_block)(w, b * s->groups + group, first, channels, at,
                                   count < w->block ? count : w->block,
                                   span < w->span ? span : w->span, lines, sums);
                }
}

/* A chunk is a few rows of a group: their splits added up, and turned. */
static void FN(conv_out_task)(void *state, int64_t chunk) {
    const FN(ConvWeight) *w = state;
    const bpx_conv_sizes *s = &w->call->sizes;
    const int64_t rows = s->ins * bpx_volume(s->window), columns = w->panels * FN(PANEL);
    const int64_t whole = s->groups * rows * columns, blocks = (rows + TURNED - 1) / TURNED;
    const int64_t g = chunk / blocks, first = chunk % blocks * TURNED;
    const int64_t last = first + TURNED < rows ? first + TURNED : rows;
    for (int64_t o = 0; o < s->outs; o++)
        for (int64_t r = first; r < last; r++) {
            const A *from = w->sums + (g * rows + r) * columns + o;
            A sum = from[0];
            for (int64_t i = 1; i < w->splits; i++) sum += from[i * whole];
            w->call->out[(g * s->outs + o) * rows + r] = STORE(sum);
        }
}

static void FN(conv_totals_out)(const FN(ConvWeight) *w) {
    const int64_t channels = w->call->sizes.groups * w->call->sizes.outs;
    for (int64_t o = 0; w->totals != NULL && o < channels; o++) {
        A sum = 0;
        for (int64_t b = 0; b < w->call->sizes.batch; b++) sum += w->totals[b * channels + o];
        w->call->total[o] = STORE(sum);
    }
}

static int FN(conv_tiles)(const FN(ConvWeightCall) *c, bpx_parallel_for parallel, void *host) {
    const bpx_conv_sizes *s = &c->sizes;
    const int64_t places = bpx_volume(s->narrow), images = s->batch * s->groups;
    const int64_t rows = s->ins * bpx_volume(s->window);
    FN(ConvWeight) w = {.call = c, .panels = (s->outs + FN(PANEL) - 1) / FN(PANEL)};
    w.parts = (s->ins + ROWS - 1) / ROWS;
    w.span = s->narrow[2] < PLACES ? s->narrow[2] : PLACES;
    const int64_t blocks = (s->narrow[1] * w.span + PLACES - 1) / PLACES; /* of lines */
    w.block = (s->narrow[1] + blocks - 1) / blocks;
    const int64_t tasks = s->groups * w.parts;
    w.splits = tasks >= 16 || s->batch < 2 ? 1 : 16 / tasks < s->batch ? 16 / tasks : s->batch;
    w.line_elements = ROWS * s->window[0] * bpx_reach(s, 1, w.block) * bpx_reach(s, 2, w.span);
    const int64_t columns = w.panels * FN(PANEL), chunks = tasks * w.splits;
    w.packed = malloc(sizeof(A) * (size_t)(images * places * columns));
    w.sums = malloc(sizeof(A) * (size_t)(w.splits * s->groups * rows * columns));
    w.lines = malloc(sizeof(A) * (size_t)(chunks * w.line_elements));
    if (c->total != NULL) w.totals = malloc(sizeof(A) * (size_t)(images * s->outs));
    const int failed = w.packed == NULL || w.sums == NULL || w.lines == NULL ||
                       (c->total != NULL && w.totals == NULL);
    if (!failed) {
        bpx_run(parallel, host, images, FN(conv_pack_task), &w);
        bpx_run(parallel, host, chunks, FN(conv_weight_task), &w);
        bpx_run(parallel, host, s->groups * ((rows + TURNED - 1) / TURNED), FN(conv_out_task), &w);
        FN(conv_totals_out)(&w);
    }
    free(w.packed);
    free(w.sums);
    free(w.lines);
    free(w.totals);
    return failed;
}
