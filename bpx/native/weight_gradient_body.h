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
    int64_t most;            /* outs of a range */
    int64_t wide;            /* from a line of sums to the next */
    int64_t lines, room, sums_room; /* of a task's lines, of its memory, of a range of the rows' sums */
    A *sums, *bias, *memory;
} FN(WeightState);

/* Elements from LINES outs of the packed rows to the next, and from a panel to the next: a cache line
 * more than they take, since what is written at once would else share the sets of the first-level
 * cache. */
enum { FN(NEXT_LINES) = DEPTH * LINES + 64 / sizeof(A) };
enum { FN(NEXT_PANEL) = DEPTH * BPX_PANEL / sizeof(A) + 64 / sizeof(A) };

#if defined(__GNUC__)
typedef A FN(line) __attribute__((vector_size(LINES * sizeof(A)), aligned(sizeof(A)), may_alias));
#define WHOLE_LINE(to, from, sum)                                                                  \
    do {                                                                                           \
        const FN(line) v = *(const FN(line) *)(from);                                              \
        *(FN(line) *)(to) = v;                                                                     \
        *(FN(line) *)(sum) += v;                                                                   \
    } while (0)
#else
#define WHOLE_LINE(to, from, sum)                                                                  \
    for (int64_t l = 0; l < LINES; l++) (to)[l] = (from)[l], (sum)[l] += (from)[l]
#endif

/* Rows of dy as lines of outs, filled up with zeros, and their sums. */
BPX_CLONES static void FN(pack_dy)(const FN(Weight) *c, int64_t row, int64_t depth, int64_t out,
                                   int64_t outs, A *packed, A *bias) {
    const int64_t gap = c->step - c->outs;
    A sum[OUTS] = {0};
    for (int64_t k = 0; k < depth; k++)
        for (int64_t j = 0; j < outs; j += LINES) {
            const int64_t low = c->low - out - j, left = outs - j;
            const A *from = c->dy + (row + k) * c->step + out + j + (low > 0 ? 0 : gap);
            A *to = packed + j / LINES * FN(NEXT_LINES) + k * LINES;
            if (left >= LINES && (low <= 0 || low >= LINES)) {
                WHOLE_LINE(to, from, sum + j);
                continue;
            }
            for (int64_t l = 0; l < LINES; l++) {
                const A v = l >= left ? 0 : from[l + (low > 0 && l >= low ? gap : 0)];
                to[l] = v;
                sum[j + l] += v;
            }
        }
    for (int64_t j = 0; j < outs; j++) bias[j] += sum[j];
}

#undef WHOLE_LINE

/* Rows of x, or of what is before it, as panels of columns. */
BPX_CLONES static void FN(pack_x)(const FN(Weight) *c, int64_t row, int64_t depth, A *packed) {
    enum { WIDTH = BPX_PANEL / sizeof(A) };
    for (int64_t k = 0; k < depth; k++) {
        const int64_t at = row + k;
        const T *from = at < c->first ? c->before + at * c->ins : c->x + (at - c->first) * c->ins;
        for (int64_t i = 0; i < c->ins; i += WIDTH) {
            const int64_t width = c->ins - i < WIDTH ? c->ins - i : WIDTH;
            A *restrict to = packed + i / WIDTH * FN(NEXT_PANEL) + k * WIDTH;
            const T *restrict of = from + i;
            if (width == WIDTH) { /* in vectors: as a loop it would be a call of memcpy */
#pragma omp simd
                for (int64_t l = 0; l < WIDTH; l++) to[l] = LOAD(of[l]);
                continue;
            }
            for (int64_t l = 0; l < width; l++) to[l] = LOAD(of[l]);
            for (int64_t l = width; l < WIDTH; l++) to[l] = 0;
        }
    }
}

static void FN(weight_task)(void *state, int64_t chunk) {
    const FN(WeightState) *s = state;
    const FN(Weight) *c = s->c;
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A), range = chunk / s->across;
    const int64_t out = chunk % s->across * s->most;
    const int64_t outs = c->outs - out < s->most ? c->outs - out : s->most;
    const int64_t last = bpx_first_row(range + 1, s->along, c->rows);
    A *sums = s->sums + range * s->sums_room + out * s->wide, *bias = s->bias + range * c->outs + out;
    A *lines = s->memory + chunk * s->room, *panels = lines + s->lines;
    for (int64_t i = 0; i < outs * s->wide; i++) sums[i] = 0;
    for (int64_t i = 0; i < outs; i++) bias[i] = 0;
    for (int64_t row = bpx_first_row(range, s->along, c->rows); row < last; row += DEPTH) {
        const int64_t depth = last - row < DEPTH ? last - row : DEPTH;
        FN(pack_dy)(c, row, depth, out, outs, lines, bias);
        FN(pack_x)(c, row, depth, panels);
        for (int64_t i = 0; i < c->ins; i += panel)
            for (int64_t j = 0; j < outs; j += LINES)
                FN(bpx_product)(outs - j < LINES ? outs - j : LINES,
                                c->ins - i < panel ? c->ins - i : panel, depth,
                                lines + j / LINES * FN(NEXT_LINES), 1, LINES,
                                panels + i / panel * FN(NEXT_PANEL), sums + j * s->wide + i, s->wide);
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
    const int64_t tasks = (c->rows + LEAST - 1) / LEAST;
    FN(WeightState) s = {.c = c, .most = tasks < TASKS ? FEW_OUTS : OUTS};
    s.across = (c->outs + s.most - 1) / s.most;
    s.along = bpx_least(tasks, (TASKS + s.across - 1) / s.across);
    s.wide = bpx_padded(c->ins, sizeof(A));
    s.lines = (bpx_least(c->outs, s.most) + LINES - 1) / LINES * FN(NEXT_LINES);
    s.sums_room = c->outs * s.wide;
    s.room = s.lines + s.wide * (int64_t)sizeof(A) / BPX_PANEL * FN(NEXT_PANEL);
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
