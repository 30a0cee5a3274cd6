/* One element type (each_type.h). Included by jsd.c.
 *
 * With r = e^-|x - target|: log of the mean of p and q lies log 2 - log(1 + r) below the larger
 * logarithm, and the smaller one |x - target| below that. */
#include "rows_body.h"

typedef struct {
    const T *x, *target, *dy;
    T *y, *dx, *dtarget;
    double *loss; /* partial sums of each chunk */
    int64_t rows, classes, chunks;
    int reduction;
    A g; /* the cotangent of each row */
} FN(State);

/* p (x - logm) and q (target - logm), 0 where p or q is. */
BPX_INLINE void FN(shares)(A x, A target, A *of_p, A *of_q) {
    const A p = MATH(bpx_exp)(x), q = MATH(bpx_exp)(target);
    const A apart = x > target ? x - target : target - x;
    const A above = (A)0.69314718055994530942 - MATH(bpx_log1p)(MATH(bpx_exp)(-apart));
    const A below = above - apart;
    *of_p = p == 0 ? 0 : p * (x < target ? below : above);
    *of_q = q == 0 ? 0 : q * (target < x ? below : above);
}

BPX_INLINE A FN(both)(A x, A target) {
    A of_p, of_q;
    FN(shares)(x, target, &of_p, &of_q);
    return of_p + of_q;
}

/* A row, or where rows are no matter a block of the elements of all: what a vector leaves over at the end
 * of each row costs as much as a vector for every element. */
BPX_INLINE int64_t FN(stretch)(const FN(State) *s) {
    return s->reduction == BPX_NONE ? s->classes : BPX_SUM_BLOCK;
}

BPX_CLONES static double FN(loss_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t stretch = FN(stretch)(s), end = last * s->classes;
    double total = 0;
    for (int64_t at = first * s->classes; at < end; at += stretch) {
        const T *restrict x = s->x + at, *restrict target = s->target + at;
        const int64_t n = bpx_least(stretch, end - at);
        A loss = 0;
        BPX_SUM(loss, i, n, FN(both)(LOAD(x[i]), LOAD(target[i])))
        loss *= (A)0.5;
        if (s->reduction == BPX_NONE) s->y[at / stretch] = STORE(loss);
        total += (double)loss;
    }
    return total;
}

/* dx = g/2 p (x - logm),  dtarget = g/2 q (target - logm); an absent one is written to no one's row */
BPX_CLONES static void FN(gradient_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t stretch = FN(stretch)(s), end = last * s->classes;
    for (int64_t at = first * s->classes; at < end; at += stretch) {
        const T *restrict x = s->x + at, *restrict target = s->target + at;
        const int64_t n = bpx_least(stretch, end - at);
        const A g = (A)0.5 * (s->reduction == BPX_NONE ? LOAD(s->dy[at / stretch]) : s->g);
        T *restrict dx = s->dx + at, *restrict dtarget = s->dtarget + at;
        A of_p, of_q;
        if (s->dx != NULL && s->dtarget != NULL) {
#pragma omp simd private(of_p, of_q)
            for (int64_t i = 0; i < n; i++) {
                FN(shares)(LOAD(x[i]), LOAD(target[i]), &of_p, &of_q);
                dx[i] = STORE(g * of_p);
                dtarget[i] = STORE(g * of_q);
            }
        } else if (s->dx != NULL) {
#pragma omp simd private(of_p, of_q)
            for (int64_t i = 0; i < n; i++) {
                FN(shares)(LOAD(x[i]), LOAD(target[i]), &of_p, &of_q);
                dx[i] = STORE(g * of_p);
            }
        } else {
#pragma omp simd private(of_p, of_q)
            for (int64_t i = 0; i < n; i++) {
                FN(shares)(LOAD(x[i]), LOAD(target[i]), &of_p, &of_q);
                dtarget[i] = STORE(g * of_q);
            }
        }
    }
}

static void FN(jsd_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->rows);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows);
    if (s->loss != NULL) {
        s->loss[chunk] = FN(loss_rows)(s, first, last);
    } else {
        FN(gradient_rows)(s, first, last);
    }
}

typedef struct {
    const T *x, *target;
    T *y;
    int64_t rows, classes, reduction;
} FN(Forward);

BPX_EXPORT int FN(bpx_jsd_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    double losses[BPX_MAX_CHUNKS], loss = 0;
    FN(State) s = {.x = c->x, .target = c->target, .loss = losses};
    s.rows = c->rows, s.classes = c->classes, s.chunks = bpx_chunks(c->rows, c->classes);
    s.y = c->y, s.reduction = (int)c->reduction;
    bpx_run(parallel, host, s.chunks, FN(jsd_task), &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) loss += losses[chunk];
    if (c->reduction == BPX_MEAN) loss /= (double)c->rows;
    if (c->reduction != BPX_NONE) *c->y = STORE((A)loss);
    return 0;
}

typedef struct {
    const T *dy, *x, *target;
    T *dx, *dtarget;
    int64_t rows, classes, reduction;
} FN(Backward);

BPX_EXPORT int FN(bpx_jsd_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    if (c->dx == NULL && c->dtarget == NULL) return 0;
    FN(State) s = {.x = c->x, .target = c->target, .dy = c->dy, .dx = c->dx};
    s.dtarget = c->dtarget, s.reduction = (int)c->reduction;
    s.rows = c->rows, s.classes = c->classes, s.chunks = bpx_chunks(c->rows, c->classes);
    s.g = LOAD(*c->dy) / (c->reduction == BPX_MEAN ? (A)c->rows : 1);
    bpx_run(parallel, host, s.chunks, FN(jsd_task), &s);
    return 0;
}
