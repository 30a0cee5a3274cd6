/* One element type (each_type.h). Included by triplet_margin.c.
 *
 * pulled = anchor - positive + eps, pushed = anchor - negative + eps, and with swap
 * swapped = positive - negative + eps, which is NULL without. Their lengths are dp, dn, ds:
 * z = dp - min(dn, ds) + margin, loss = max(z, 0). */
#include "rows_body.h"

typedef struct {
    int64_t rows, columns, reduction;
    double margin, eps;
} FN(Options);

typedef struct {
    const T *anchor, *positive, *negative;
    T *y;
    A *pulled, *pushed, *swapped;
    FN(Options) options;
} FN(Forward);

typedef struct {
    const T *dy;
    const A *pulled, *pushed, *swapped;
    T *danchor, *dpositive, *dnegative;
    FN(Options) options;
} FN(Backward);

typedef struct {
    const FN(Forward) *forward;
    const FN(Backward) *backward;
    double *loss; /* partial sums of each chunk */
    int64_t rows, chunks;
} FN(State);

BPX_INLINE A FN(length)(const A *restrict u, int64_t n) {
    A square = 0;
    BPX_SUM(square, i, n, u[i] * u[i])
    return SQRT(square);
}

/* u = a - b + eps, and its length */
BPX_INLINE A FN(distance)(A *restrict u, const T *restrict a, const T *restrict b, int64_t n,
                          A eps) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) u[i] = LOAD(a[i]) - LOAD(b[i]) + eps;
    return FN(length)(u, n);
}

/* The lesser, or NaN */
BPX_INLINE A FN(nearer)(A dn, A ds) { return ds < dn || isnan(ds) ? ds : dn; }

BPX_CLONES static double FN(forward_rows)(const FN(Forward) *c, int64_t first, int64_t last) {
    const int64_t n = c->options.columns;
    const A margin = (A)c->options.margin, eps = (A)c->options.eps;
    double total = 0;
    for (int64_t row = first; row < last; row++) {
        const int64_t at = row * n;
        const T *anchor = c->anchor + at, *positive = c->positive + at;
        const T *negative = c->negative + at;
        const A dp = FN(distance)(c->pulled + at, anchor, positive, n, eps);
        A dn = FN(distance)(c->pushed + at, anchor, negative, n, eps);
        if (c->swapped != NULL)
            dn = FN(nearer)(dn, FN(distance)(c->swapped + at, positive, negative, n, eps));
        const A z = dp - dn + margin, loss = z < 0 ? 0 : z; /* NaN stays */
        if (c->options.reduction == BPX_NONE) c->y[row] = STORE(loss);
        total += (double)loss;
    }
    return total;
}

/* g / d beside a difference of length d; 0 where the difference is */
BPX_INLINE A FN(over)(A g, A d) { return d == 0 ? 0 : g / d; }

/* d = c u + k v; d may be u's own memory; v may be absent, d too */
BPX_INLINE void FN(combine)(T *d, const A *u, const A *v, int64_t n, A c, A k) {
    if (d == NULL) return;
    if (v == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = STORE(c * u[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = STORE(c * u[i] + k * v[i]);
    }
}

/* With g = dy (over the number of rows in a mean) where z >= 0, and the shares own + other = 1 of
 * dn and ds in the lesser:
 *   danchor   =  g pulled / dp - g own pushed / dn
 *   dpositive = -g pulled / dp - g other swapped / ds
 *   dnegative =  g own pushed / dn + g other swapped / ds
 * danchor may be written over pulled, dnegative over pushed: each is the last that reads it. */
BPX_CLONES static void FN(backward_rows)(const FN(Backward) *c, int64_t first, int64_t last) {
    const FN(Options) *o = &c->options;
    const int64_t n = o->columns;
    const int each = o->reduction == BPX_NONE;
    const A rows = (A)(o->reduction == BPX_MEAN ? o->rows : 1), margin = (A)o->margin;
    for (int64_t row = first; row < last; row++) {
        const int64_t at = row * n;
        const A *pulled = c->pulled + at, *pushed = c->pushed + at;
        const A *swapped = c->swapped == NULL ? NULL : c->swapped + at;
        const A dp = FN(length)(pulled, n), dn = FN(length)(pushed, n);
        const A ds = swapped == NULL ? (A)INFINITY : FN(length)(swapped, n);
        const A own = swapped == NULL ? 1 : (dn == ds ? (A)0.5 : (A)(dn < ds));
        const A g = dp - FN(nearer)(dn, ds) + margin >= 0 ? LOAD(c->dy[each ? row : 0]) / rows : 0;
        const A pull = FN(over)(g, dp), push = FN(over)(g * own, dn);
        const A swap = FN(over)(g * (1 - own), ds);
        T *danchor = c->danchor == NULL ? NULL : c->danchor + at;
        T *dpositive = c->dpositive == NULL ? NULL : c->dpositive + at;
        T *dnegative = c->dnegative == NULL ? NULL : c->dnegative + at;
        FN(combine)(dpositive, pulled, swapped, n, -pull, -swap);
        FN(combine)(danchor, pulled, pushed, n, pull, -push);
        FN(combine)(dnegative, pushed, swapped, n, push, swap);
    }
}

static void FN(triplet_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->rows);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows);
    if (s->forward != NULL) s->loss[chunk] = FN(forward_rows)(s->forward, first, last);
    if (s->backward != NULL) FN(backward_rows)(s->backward, first, last);
}

BPX_EXPORT int FN(bpx_triplet_margin_forward)(const void *call, bpx_parallel_for parallel,
                                              void *host) {
    const FN(Forward) *c = call;
    const FN(Options) *o = &c->options;
    double losses[BPX_MAX_CHUNKS], loss = 0;
    FN(State) s = {.forward = c, .loss = losses, .rows = o->rows};
    s.chunks = bpx_chunks(o->rows, o->columns);
    bpx_run(parallel, host, s.chunks, FN(triplet_task), &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) loss += losses[chunk];
    if (o->reduction == BPX_MEAN) loss /= (double)o->rows;
    if (o->reduction != BPX_NONE) *c->y = STORE((A)loss);
    return 0;
}

BPX_EXPORT int FN(bpx_triplet_margin_backward)(const void *call, bpx_parallel_for parallel,
                                               void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.backward = c, .rows = c->options.rows};
    s.chunks = bpx_chunks(s.rows, c->options.columns);
    bpx_run(parallel, host, s.chunks, FN(triplet_task), &s);
    return 0;
}
