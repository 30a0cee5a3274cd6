/* One element type (each_type.h). Included by soft_cross_entropy.c.
 *
 * With s = label_smoothing: q = (1 - s) target + s/V, wq = weight q, and logp = logits - lse, 0 for a
 * class that is masked and not wanted. `weight` is never NULL here: ones stand for an absent one. */
#include "rows_body.h"
#include "short_rows_body.h"

typedef struct {
    const T *logits, *target, *dy;
    const A *weight, *lse;
    T *out, *dtarget; /* y of the rows, or dlogits */
    A *lse_out;
    A *dweight;   /* chunks x classes of partial sums */
    double *loss; /* partial sums of each chunk */
    int64_t rows, classes, chunks;
    int reduction;
    A keep, even, g; /* 1 - s, s/V, the cotangent of each row */
} FN(State);

BPX_INLINE A FN(logp)(A x, A lse, A wq) { return x == -(A)INFINITY && wq == 0 ? 0 : x - lse; }

BPX_CLONES static double FN(loss_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->classes;
    const A *restrict weight = s->weight;
    const A keep = s->keep, even = s->even;
    double total = 0;
    A own[BPX_LANES];
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->logits + row * n, *restrict target = s->target + row * n;
        const int64_t lane = (row - first) % BPX_LANES;
        if (lane == 0) FN(rows_lse)(x, n, bpx_least(last - row, BPX_LANES), own);
        const A lse = own[lane];
        A loss = 0;
        BPX_SUM(loss, i, n,
                weight[i] * (keep * LOAD(target[i]) + even) *
                    FN(logp)(LOAD(x[i]), lse, weight[i] * (keep * LOAD(target[i]) + even)))
        s->lse_out[row] = lse;
        if (s->out != NULL) s->out[row] = STORE(-loss);
        total -= (double)loss;
    }
    return total;
}

/* With p = exp(logits - lse) / sum_V(exp(logits - lse)), which divides out the rounding of lse:
 *     dlogits = g * (sum_V(wq) p - wq)          through lse, through the logits
 *     dtarget = -g * (1 - s) weight logp,  dweight = -sum of g * q * logp over the rows */
BPX_INLINE void FN(gradient_row)(const FN(State) *s, int64_t row, const A *seen, A mass,
                                 A *restrict dweight) {
    const int64_t n = s->classes;
    const A *restrict weight = s->weight;
    const A keep = s->keep, even = s->even;
    const T *restrict x = s->logits + row * n, *restrict target = s->target + row * n;
    const A lse = s->lse[row], g = s->reduction == BPX_NONE ? LOAD(s->dy[row]) : s->g;
    if (s->out != NULL) {
        T *restrict dx = s->out + row * n;
        A whole = 0;
        BPX_SUM(whole, i, n, weight[i] * (keep * LOAD(target[i]) + even))
        whole /= seen != NULL ? mass : FN(row_mass)(x, dx, n, lse);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A wq = weight[i] * (keep * LOAD(target[i]) + even);
            dx[i] = STORE(g * (whole * FN(row_exp)(x, dx, seen, i, lse) - wq));
        }
    }
    if (s->dtarget != NULL) {
        T *restrict dtarget = s->dtarget + row * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A wq = weight[i] * (keep * LOAD(target[i]) + even);
            dtarget[i] = STORE(-g * keep * weight[i] * FN(logp)(LOAD(x[i]), lse, wq));
        }
    }
    if (dweight != NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A q = keep * LOAD(target[i]) + even;
            dweight[i] -= g * q * FN(logp)(LOAD(x[i]), lse, weight[i] * q);
        }
    }
}

BPX_CLONES static void FN(gradient_rows)(const FN(State) *s, int64_t first, int64_t last,
                                         A *restrict dweight) {
    const int64_t n = s->classes;
    if (s->out == NULL || !bpx_short(n)) {
        for (int64_t row = first; row < last; row++) FN(gradient_row)(s, row, NULL, 0, dweight);
        return;
    }
    A e[BPX_SHORT * BPX_LANES], mass[BPX_LANES];
    for (int64_t at = first; at < last; at += BPX_LANES) {
        const int64_t rows = bpx_least(last - at, BPX_LANES);
        FN(short_masses)(s->logits + at * n, n, rows, s->lse + at, e, mass);
        for (int64_t row = 0; row < rows; row++)
            FN(gradient_row)(s, at + row, e + row * n, mass[row], dweight);
    }
}

static void FN(loss_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    s->loss[chunk] = FN(loss_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                                   bpx_first_row(chunk + 1, s->chunks, s->rows));
}

static void FN(gradient_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    A *dweight = s->dweight == NULL ? NULL : s->dweight + chunk * s->classes;
    if (dweight != NULL)
        for (int64_t i = 0; i < s->classes; i++) dweight[i] = 0;
    FN(gradient_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                      bpx_first_row(chunk + 1, s->chunks, s->rows), dweight);
}

typedef struct {
    int64_t rows, classes, reduction;
    double smoothing;
} FN(Options);

/* The State of a call; its `memory` is to be freed: ones for an absent weight, then `more` elements. */
static A *FN(prepare)(FN(State) *s, const FN(Options) *o, const A *weight, int64_t more) {
    s->rows = o->rows, s->classes = o->classes, s->reduction = (int)o->reduction;
    s->chunks = bpx_chunks(o->rows, o->classes);
    s->keep = (A)(1 - o->smoothing), s->even = (A)(o->smoothing / (double)o->classes);
    A *memory = malloc((size_t)(s->classes + more) * sizeof(A));
    if (memory == NULL) return NULL;
    for (int64_t i = 0; i < s->classes; i++) memory[i] = weight == NULL ? 1 : weight[i];
    s->weight = memory;
    return memory;
}

typedef struct {
    const T *logits, *target;
    const A *weight;
    T *y;
    A *lse;
    FN(Options) options;
} FN(Forward);

BPX_EXPORT int FN(bpx_soft_cross_entropy_forward)(const void *call, bpx_parallel_for parallel,
                                                  void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.logits = c->logits, .target = c->target, .lse_out = c->lse};
    A *memory = FN(prepare)(&s, &c->options, c->weight, 0);
    if (memory == NULL) return 1;
    double losses[BPX_MAX_CHUNKS], loss = 0;
    s.loss = losses;
    if (s.reduction == BPX_NONE) s.out = c->y;
    bpx_run(parallel, host, s.chunks, FN(loss_task), &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) loss += losses[chunk];
    if (s.reduction == BPX_MEAN) loss /= (double)s.rows;
    if (s.reduction != BPX_NONE) *c->y = STORE((A)loss);
    free(memory);
    return 0;
}

typedef struct {
    const T *dy, *logits, *target;
    const A *weight, *lse;
    T *dlogits, *dtarget;
    A *dweight;
    FN(Options) options;
} FN(Backward);

BPX_EXPORT int FN(bpx_soft_cross_entropy_backward)(const void *call, bpx_parallel_for parallel,
                                                   void *host) {
    const FN(Backward) *c = call;
    const int64_t n = c->options.classes, chunks = bpx_chunks(c->options.rows, n);
    FN(State) s = {.logits = c->logits, .target = c->target, .dy = c->dy, .lse = c->lse};
    A *memory = FN(prepare)(&s, &c->options, c->weight, c->dweight == NULL ? 0 : chunks * n);
    if (memory == NULL) return 1;
    s.g = LOAD(*c->dy) / (s.reduction == BPX_MEAN ? (A)s.rows : 1);
    s.out = c->dlogits, s.dtarget = c->dtarget;
    s.dweight = c->dweight == NULL ? NULL : memory + n;
    bpx_run(parallel, host, chunks, FN(gradient_task), &s);
    if (c->dweight != NULL) {
        memcpy(c->dweight, s.dweight, (size_t)n * sizeof(A));
        for (int64_t chunk = 1; chunk < chunks; chunk++)
            for (int64_t i = 0; i < n; i++) c->dweight[i] += s.dweight[chunk * n + i];
    }
    free(memory);
    return 0;
}
