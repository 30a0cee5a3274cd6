/* One element type (each_type.h). Included by info_nce.c. */
#include "rows_body.h"

typedef struct {
    const T *s, *dy;
    T *y, *ds;
    double *loss; /* partial sums of each chunk */
    int64_t rows, chunks;
    int reduction;
    A g; /* the cotangent of each row, times what the gradient is scaled by */
    A scale;
} FN(State);

/* log(sum(e^s)) - s_own as log(sum(e^(s - top))) + (top - s_own): no large parts that cancel */
BPX_CLONES static double FN(loss_rows)(const FN(State) *state, int64_t first, int64_t last) {
    const int64_t n = state->rows;
    double total = 0;
    for (int64_t row = first; row < last; row++) {
        const T *restrict s = state->s + row * n;
        const A top = FN(row_top)(s, n);
        A mass = 0;
        BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(s[i]) - top))
        const A loss = MATH(bpx_log)(mass) + (top - LOAD(s[row]));
        if (state->y != NULL) state->y[row] = STORE(loss);
        total += (double)loss;
    }
    return total;
}

/* ds = g (softmax(s) - 1 at the own), there minus the sum of the others. ds may be s. */
BPX_CLONES static void FN(gradient_rows)(const FN(State) *state, int64_t first, int64_t last) {
    const int64_t n = state->rows;
    for (int64_t row = first; row < last; row++) {
        const T *s = state->s + row * n;
        T *ds = state->ds + row * n;
        const A g = state->reduction == BPX_NONE ? LOAD(state->dy[row]) * state->scale : state->g;
        const A top = FN(row_top)(s, n), own = MATH(bpx_exp)(LOAD(s[row]) - top);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) ds[i] = STORE(MATH(bpx_exp)(LOAD(s[i]) - top));
        ds[row] = STORE(0);
        A others = 0;
        BPX_SUM(others, i, n, LOAD(ds[i]))
        const A scale = g / (others + own);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) ds[i] = STORE(scale * LOAD(ds[i]));
        ds[row] = STORE(-scale * others);
    }
}

static void FN(loss_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    s->loss[chunk] = FN(loss_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                                   bpx_first_row(chunk + 1, s->chunks, s->rows));
}

static void FN(gradient_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(gradient_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                      bpx_first_row(chunk + 1, s->chunks, s->rows));
}

typedef struct {
    const T *s;
    T *y;
    int64_t rows, reduction;
} FN(Forward);

BPX_EXPORT int FN(bpx_info_nce_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    double losses[BPX_MAX_CHUNKS], loss = 0;
    FN(State) s = {.s = c->s, .rows = c->rows, .loss = losses};
    s.chunks = bpx_chunks(c->rows, c->rows);
    if (c->reduction == BPX_NONE) s.y = c->y;
    bpx_run(parallel, host, s.chunks, FN(loss_task), &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) loss += losses[chunk];
    if (c->reduction == BPX_MEAN) loss /= (double)c->rows;
    if (c->reduction != BPX_NONE) *c->y = STORE((A)loss);
    return 0;
}

typedef struct {
    const T *dy, *s;
    T *ds;
    int64_t rows, reduction;
    double scale;
} FN(Backward);

BPX_EXPORT int FN(bpx_info_nce_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.s = c->s, .dy = c->dy, .ds = c->ds, .rows = c->rows};
    s.reduction = (int)c->reduction, s.scale = (A)c->scale;
    s.chunks = bpx_chunks(c->rows, c->rows);
    s.g = LOAD(*c->dy) * s.scale;
    if (c->reduction == BPX_MEAN) s.g /= (A)c->rows;
    bpx_run(parallel, host, s.chunks, FN(gradient_task), &s);
    return 0;
}
