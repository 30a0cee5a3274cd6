/* One element type (each_type.h). Included by weight_gradient.c. */

typedef struct {
    const A *dy;
    const T *x, *before; /* before: the first rows of x, or NULL */
    A *dweight, *dbias;
    int64_t rows, outs, ins, first; /* first: rows of `before` */
    int64_t step, low; /* from a row of dy to the next; of its columns the first `low` and the last are outs */
} FN(Weight);

typedef struct {
    const FN(Weight) *c;
    int64_t across, along;   /* ranges of the outs, of the rows */
    int64_t wide;            /* from a line of sums to the next */
    int64_t room, sums_room; /* of a task's memory, of a range of the rows' sums */
    A *sums, *bias, *memory;
} FN(WeightState);

/* `width` outs of some rows of dy as lines, filled up with zeros, and their sums; those from `cut` on
 * stand `gap` columns farther. */
BPX_INLINE void FN(pack_lines)(const A *restrict from, int64_t step, int64_t depth, const int64_t width,
                               const int64_t cut, const int64_t gap, A *restrict to,
                               A *restrict bias) {
    A sum[LINES] = {0};
    for (int64_t k = 0; k < depth; k++)
        for (int64_t l = 0; l < LINES; l++) {
            const A v = l < width ? from[k * step + l + (l < cut ? 0 : gap)] : 0;
            to[k * LINES + l] = v;
            sum[l] += v;
        }
    for (int64_t l = 0; l < width; l++) bias[l] += sum[l];
}

BPX_CLONES static void FN(pack_dy)(const FN(Weight) *c, int64_t row, int64_t depth, int64_t out,
                                   int64_t outs, A *packed, A *bias) {
    const int64_t gap = c->step - c->outs;
    for (int64_t j = 0; j < outs; j += LINES) {
        const int64_t o = out + j, low = c->low - o, left = outs - j, width = left < LINES ? left : LINES;
        const A *from = c->dy + row * c->step + o + (low > 0 ? 0 : gap);
        A *to = packed + j * depth;
        if (low > 0 && low < width) {
            FN(pack_lines)(from, c->step, depth, width, low, gap, to, bias + j);
        } else if (width < LINES) {
            FN(pack_lines)(from, c->step, depth, width, LINES, 0, to, bias + j);
        } else { /* a number of turns that the compiler knows */
            FN(pack_lines)(from, c->step, depth, LINES, LINES, 0, to, bias + j);
        }
    }
}

/* Rows of x, or of what is before it, as panels of columns. */
BPX_CLONES static void FN(pack_x)(const FN(Weight) *c, int64_t row, int64_t depth, A *restrict packed) {
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A);
    for (int64_t i = 0; i < c->ins; i += panel) {
        const int64_t width = c->ins - i < panel ? c->ins - i : panel;
        for (int64_t k = 0; k < depth; k++) {
            const int64_t at = row + k;
            const T *restrict from =
                (at < c->first ? c->before + at * c->ins : c->x + (at - c->first) * c->ins) + i;
            A *restrict to = packed + i * depth + k * panel;
            if (width == panel) { /* a number of turns that the compiler knows */
                for (int64_t l = 0; l < BPX_PANEL / (int64_t)sizeof(A); l++) to[l] = LOAD(from[l]);
                continue;
            }
            for (int64_t l = 0; l < width; l++) to[l] = LOAD(from[l]);
            for (int64_t l = width; l < panel; l++) to[l] = 0;
        }
    }
}

static void FN(weight_task)(void *state, int64_t chunk) {
    const FN(WeightState) *s = state;
    const FN(Weight) *c = s->c;
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A), range = chunk / s->across;
    const int64_t out = chunk % s->across * OUTS;
    const int64_t outs = c->outs - out < OUTS ? c->outs - out : OUTS;
    const int64_t last = bpx_first_row(range + 1, s->along, c->rows);
    A *sums = s->sums + range * s->sums_room + out * s->wide, *bias = s->bias + range * c->outs + out;
    A *lines = s->memory + chunk * s->room, *panels = lines + OUTS * DEPTH;
    for (int64_t i = 0; i < outs * s->wide; i++) sums[i] = 0;
    for (int64_t i = 0; i < outs; i++) bias[i] = 0;
    for (int64_t row = bpx_first_row(range, s->along, c->rows); row < last; row += DEPTH) {
        const int64_t depth = last - row < DEPTH ? last - row : DEPTH;
        FN(pack_dy)(c, row, depth, out, outs, lines, bias);
        FN(pack_x)(c, row, depth, panels);
        for (int64_t i = 0; i < c->ins; i += panel)
            for (int64_t j = 0; j < outs; j += LINES)
                FN(bpx_product)(outs - j < LINES ? outs - j : LINES,
                                c->ins - i < panel ? c->ins - i : panel, depth, lines + j * depth, 1,
                                LINES, panels + i * depth, sums + j * s->wide + i, s->wide);
    }
}

/* The ranges' sums, in order. */
BPX_CLONES static void FN(weight_add)(const FN(WeightState) *s, int64_t first, int64_t last) {
    const FN(Weight) *c = s->c;
    for (int64_t o = first; o < last; o++) {
        A *restrict to = c->dweight + o * c->ins;
        const A *from = s->sums + o * s->wide;
        for (int64_t i = 0; i < c->ins; i++) to[i] = from[i];
        for (int64_t r = 1; r < s->along; r++) {
            const A *restrict more = from + r * s->sums_room;
            for (int64_t i = 0; i < c->ins; i++) to[i] += more[i];
        }
        if (c->dbias == NULL) continue;
        c->dbias[o] = s->bias[o];
        for (int64_t r = 1; r < s->along; r++) c->dbias[o] += s->bias[r * c->outs + o];
    }
}

static void FN(weight_add_task)(void *state, int64_t chunk) {
    const FN(WeightState) *s = state;
    const int64_t chunks = bpx_chunks(s->c->outs, s->c->ins);
    FN(weight_add)(s, bpx_first_row(chunk, chunks, s->c->outs),
                   bpx_first_row(chunk + 1, chunks, s->c->outs));
}

BPX_EXPORT int FN(bpx_weight_gradient)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Weight) *c = call;
    FN(WeightState) s = {.c = c, .across = (c->outs + OUTS - 1) / OUTS};
    const int64_t most = (c->rows + LEAST - 1) / LEAST, wanted = (TASKS + s.across - 1) / s.across;
    s.along = most < wanted ? most : wanted;
    s.wide = bpx_padded(c->ins, sizeof(A));
    s.sums_room = c->outs * s.wide;
    s.room = (OUTS + s.wide) * DEPTH;
    const int64_t line = 64 / sizeof(A), chunks = s.across * s.along;
    const int64_t bias = (s.along * c->outs + line - 1) / line * line;
    void *memory =
        malloc((size_t)(chunks * s.room + s.along * s.sums_room + bias + line) * sizeof(A));
    if (memory == NULL) return 1;
    s.memory = (A *)(((uintptr_t)memory + 63) / 64 * 64);
    s.sums = s.memory + chunks * s.room;
    s.bias = s.sums + s.along * s.sums_room;
    bpx_run(parallel, host, chunks, FN(weight_task), &s);
    bpx_run(parallel, host, bpx_chunks(c->outs, c->ins), FN(weight_add_task), &s);
    free(memory);
    return 0;
}
