/* One element type (each_type.h). Included by multi_margin.c.
 *
 * z = max(margin - x[target] + x, 0), 0 at the target; a row's loss is wy / V sum(z^p), p 1 or 2. */
#include "rows_body.h"

typedef struct {
    int64_t rows, classes, label_bytes, reduction, p;
    double margin;
} FN(Sizes);

typedef struct {
    const T *x, *dy;
    const A *weight;
    T *out;       /* y of the rows, or dx */
    A *whole;     /* sum(z^p) of each row, where the gradient of the weights is wanted */
    double *loss; /* partial sums of each chunk */
    bpx_labels labels;
    int64_t rows, chunks;
    int reduction, square;
    A margin, g;
} FN(State);

BPX_INLINE A FN(over)(A x, A gap) { return x + gap < 0 ? 0 : x + gap; } /* NaN stays */

/* sum(z^p) of elements none of which is the target; gap is margin - x[target] */
BPX_INLINE A FN(sum_over)(const T *restrict x, int64_t n, A gap, int square) {
    A sum = 0;
    if (square) {
        BPX_SUM(sum, i, n, FN(over)(LOAD(x[i]), gap) * FN(over)(LOAD(x[i]), gap))
    } else {
        BPX_SUM(sum, i, n, FN(over)(LOAD(x[i]), gap))
    }
    return sum;
}

/* dx = g wy (1 | 2 z) where z > 0, of elements none of which is the target; their sum */
BPX_INLINE A FN(slopes)(const T *restrict x, T *restrict dx, int64_t n, A gap, int square, A g) {
    A sum = 0;
    if (square) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = STORE(2 * g * FN(over)(LOAD(x[i]), gap));
        BPX_SUM(sum, i, n, 2 * g * FN(over)(LOAD(x[i]), gap))
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = STORE(LOAD(x[i]) + gap > 0 ? g : 0 * g);
        BPX_SUM(sum, i, n, LOAD(x[i]) + gap > 0 ? g : 0 * g)
    }
    return sum;
}

BPX_CLONES static double FN(margin_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->labels.classes;
    double total = 0;
    for (int64_t row = first; row < last; row++) {
        const T *x = s->x + row * n;
        const int64_t label = bpx_label(&s->labels, row);
        const int here = bpx_is_class(&s->labels, label);
        const int64_t at = here ? label : 0, rest = n - at - 1;
        const A gap = s->margin - LOAD(x[at]);
        const A wy = !here ? (A)NAN : (s->weight == NULL ? 1 : s->weight[label]);
        if (s->dy == NULL || s->whole != NULL) {
            const A whole = FN(sum_over)(x, at, gap, s->square) +
                            FN(sum_over)(x + at + 1, rest, gap, s->square);
            const A loss = wy * whole / (A)n;
            if (s->whole != NULL) s->whole[row] = here ? whole : (A)NAN;
            if (s->dy == NULL && s->out != NULL) s->out[row] = STORE(loss);
            total += (double)loss;
        }
        if (s->dy != NULL && s->out != NULL) {
            T *dx = s->out + row * n;
            const A g = wy * (s->reduction == BPX_NONE ? LOAD(s->dy[row]) / (A)n : s->g);
            const A sum = FN(slopes)(x, dx, at, gap, s->square, g) +
                          FN(slopes)(x + at + 1, dx + at + 1, rest, gap, s->square, g);
            dx[at] = STORE(here ? -sum : (A)NAN);
        }
    }
    return total;
}

static void FN(margin_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    s->loss[chunk] = FN(margin_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                                     bpx_first_row(chunk + 1, s->chunks, s->rows));
}

static FN(State) FN(state)(const FN(Sizes) *c, const T *x, const void *target, const A *weight) {
    FN(State) s = {.rows = c->rows, .x = x, .weight = weight, .reduction = (int)c->reduction};
    s.labels = (bpx_labels){target, c->label_bytes, c->classes, 0, 0};
    s.square = c->p == 2, s.margin = (A)c->margin, s.chunks = bpx_chunks(c->rows, c->classes);
    return s;
}

typedef struct {
    const T *x;
    const void *target;
    const A *weight;
    T *y;
    FN(Sizes) sizes;
} FN(Forward);

BPX_EXPORT int FN(bpx_multi_margin_forward)(const void *call, bpx_parallel_for parallel,
                                            void *host) {
    const FN(Forward) *c = call;
    FN(State) s = FN(state)(&c->sizes, c->x, c->target, c->weight);
    double losses[BPX_MAX_CHUNKS], loss = 0;
    s.loss = losses;
    if (s.reduction == BPX_NONE) s.out = c->y;
    bpx_run(parallel, host, s.chunks, FN(margin_task), &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) loss += losses[chunk];
    if (s.reduction == BPX_MEAN) loss /= (double)s.rows;
    if (s.reduction != BPX_NONE) *c->y = STORE((A)loss);
    return 0;
}

typedef struct {
    const T *dy, *x;
    const void *target;
    const A *weight;
    T *dx;
    A *dweight;
    FN(Sizes) sizes;
} FN(Backward);

BPX_EXPORT int FN(bpx_multi_margin_backward)(const void *call, bpx_parallel_for parallel,
                                             void *host) {
    const FN(Backward) *c = call;
    FN(State) s = FN(state)(&c->sizes, c->x, c->target, c->weight);
    const int64_t n = s.labels.classes;
    double losses[BPX_MAX_CHUNKS];
    s.loss = losses, s.dy = c->dy, s.out = c->dx;
    s.g = LOAD(*c->dy) / (A)(s.reduction == BPX_MEAN ? s.rows : 1) / (A)n;
    if (c->dweight != NULL && (s.whole = malloc((size_t)s.rows * sizeof(A))) == NULL) return 1;
    bpx_run(parallel, host, s.chunks, FN(margin_task), &s);
    if (c->dweight == NULL) return 0;
    for (int64_t i = 0; i < n; i++) c->dweight[i] = 0;
    for (int64_t row = 0; row < s.rows; row++) {
        const int64_t label = bpx_label(&s.labels, row);
        const A g = s.reduction == BPX_NONE ? LOAD(s.dy[row]) / (A)n : s.g;
        c->dweight[bpx_is_class(&s.labels, label) ? label : 0] += g * s.whole[row];
    }
    free(s.whole);
    return 0;
}
