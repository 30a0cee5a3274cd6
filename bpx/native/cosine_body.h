/* One element type (each_type.h). Included by cosine.c.
 *
 * target NULL: y is the cosine of each row, lengths below eps count as eps. With a target: y is the
 * loss, and eps is added to the squares. */
#include "rows_body.h"

typedef struct {
    int64_t rows, columns, reduction;
    double eps, margin;
} FN(Options);

typedef struct {
    const T *x1, *x2, *target, *dy;
    T *y, *dx1, *dx2, *dtarget;
    double *loss; /* partial sums of each chunk */
    int64_t rows, columns, chunks;
    int reduction;
    A eps, margin, g;
} FN(State);

/* One over the length of a row, and whether its length has a derivative. */
BPX_INLINE A FN(inverse)(const FN(State) *s, const T *restrict x, int *moves) {
    A square = 0;
    BPX_SUM(square, i, s->columns, LOAD(x[i]) * LOAD(x[i]))
    *moves = s->target != NULL || square > s->eps * s->eps;
    if (s->target != NULL) return 1 / SQRT(square + s->eps);
    return *moves ? 1 / SQRT(square) : 1 / s->eps;
}

/* d = c i (j other - k i own): the other's direction, less the part along the own. */
BPX_INLINE void FN(pull)(T *restrict d, const T *restrict own, const T *restrict other, int64_t n,
                         A c, A i, A j, A k) {
#pragma omp simd
    for (int64_t at = 0; at < n; at++)
        d[at] = STORE(c * i * (j * LOAD(other[at]) - k * (i * LOAD(own[at]))));
}

BPX_CLONES static double FN(cosine_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->columns;
    double total = 0;
    for (int64_t row = first; row < last; row++) {
        const T *restrict x1 = s->x1 + row * n, *restrict x2 = s->x2 + row * n;
        int moves1, moves2;
        const A i1 = FN(inverse)(s, x1, &moves1), i2 = FN(inverse)(s, x2, &moves2);
        A cos = 0;
        BPX_SUM(cos, i, n, (LOAD(x1[i]) * i1) * (LOAD(x2[i]) * i2))
        const A t = s->target == NULL ? 0 : LOAD(s->target[row]);
        const A gap = cos - s->margin, over = gap < 0 ? 0 : gap; /* NaN stays */
        if (s->dy == NULL) {
            const A loss =
                s->target == NULL ? cos : (A)0.5 * ((1 + t) * (1 - cos) + (1 - t) * over);
            if (s->y != NULL) s->y[row] = STORE(loss);
            total += (double)loss;
            continue;
        }
        const A g = s->reduction == BPX_NONE ? LOAD(s->dy[row]) : s->g;
        const A slope = (A)0.5 * ((gap >= 0 ? 1 - t : 0) - 1 - t);
        const A c = s->target == NULL ? g : g * slope;
        if (s->dx1 != NULL) FN(pull)(s->dx1 + row * n, x1, x2, n, c, i1, i2, moves1 ? cos : 0);
        if (s->dx2 != NULL) FN(pull)(s->dx2 + row * n, x2, x1, n, c, i2, i1, moves2 ? cos : 0);
        if (s->dtarget != NULL) s->dtarget[row] = STORE(g * ((A)0.5 * (1 - cos - over)));
    }
    return total;
}

static void FN(cosine_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    s->loss[chunk] = FN(cosine_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                                     bpx_first_row(chunk + 1, s->chunks, s->rows));
}

static double FN(run_cosine)(FN(State) *s, const FN(Options) *o, bpx_parallel_for parallel,
                             void *host) {
    double losses[BPX_MAX_CHUNKS], loss = 0;
    s->rows = o->rows, s->columns = o->columns, s->reduction = (int)o->reduction;
    s->eps = (A)o->eps, s->margin = (A)o->margin, s->loss = losses;
    s->chunks = bpx_chunks(o->rows, o->columns);
    bpx_run(parallel, host, s->chunks, FN(cosine_task), s);
    for (int64_t chunk = 0; chunk < s->chunks; chunk++) loss += losses[chunk];
    return loss / (double)(o->reduction == BPX_MEAN ? o->rows : 1);
}

typedef struct {
    const T *x1, *x2, *target;
    T *y;
    FN(Options) options;
} FN(Forward);

BPX_EXPORT int FN(bpx_cosine_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.x1 = c->x1, .x2 = c->x2, .target = c->target};
    if (c->options.reduction == BPX_NONE) s.y = c->y;
    const double loss = FN(run_cosine)(&s, &c->options, parallel, host);
    if (c->options.reduction != BPX_NONE) *c->y = STORE((A)loss);
    return 0;
}

typedef struct {
    const T *dy, *x1, *x2, *target;
    T *dx1, *dx2, *dtarget;
    FN(Options) options;
} FN(Backward);

BPX_EXPORT int FN(bpx_cosine_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.x1 = c->x1, .x2 = c->x2, .target = c->target, .dy = c->dy};
    s.dx1 = c->dx1, s.dx2 = c->dx2, s.dtarget = c->dtarget;
    s.g = LOAD(*c->dy) / (A)(c->options.reduction == BPX_MEAN ? c->options.rows : 1);
    FN(run_cosine)(&s, &c->options, parallel, host);
    return 0;
}
