/* One element type (each_type.h). Included by batch_norm_rows_forward.c. */
#include "columns_body.h"
#include "statistics_body.h"

typedef struct {
    const T *x;
    const A *weight, *bias, *running_mean, *running_var;
    T *y;
    A *mean, *rstd, *var;
    int64_t rows, channels;
    double eps;
} FN(Forward);

typedef struct {
    const FN(Forward) *c;
    int64_t chunks, ranges;         /* of rows, of channels */
    bpx_moments *moments;           /* chunks x channels */
    A *sums;                        /* chunks x 3 x channels: of column_moments */
    A *shift, *weight, *bias;       /* by channel */
} FN(State);

BPX_CLONES static void FN(moments_of)(const FN(State) *s, int64_t chunk, int64_t first,
                                      int64_t last) {
    const int64_t n = s->c->channels;
    FN(column_moments)(s->moments + chunk * n, s->sums + chunk * 3 * n, s->c->x + first * n,
                       last - first, n, 1, n);
}

BPX_CLONES static void FN(apply_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->c->channels;
    const A *restrict mean = s->c->mean, *restrict rstd = s->c->rstd, *restrict shift = s->shift;
    const A *restrict weight = s->weight, *restrict bias = s->bias;
    int64_t row = first;
    for (; row + 2 <= last; row += 2) { /* what a channel has is read once for both */
        const T *restrict x = s->c->x + row * n, *restrict x1 = x + n;
        T *restrict y = s->c->y + row * n, *restrict y1 = y + n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            y[i] = STORE((LOAD(x[i]) - mean[i] - shift[i]) * rstd[i] * weight[i] + bias[i]);
            y1[i] = STORE((LOAD(x1[i]) - mean[i] - shift[i]) * rstd[i] * weight[i] + bias[i]);
        }
    }
    for (; row < last; row++) {
        const T *restrict x = s->c->x + row * n;
        T *restrict y = s->c->y + row * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = STORE((LOAD(x[i]) - mean[i] - shift[i]) * rstd[i] * weight[i] + bias[i]);
    }
}

static void FN(moments_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(moments_of)(s, chunk, bpx_first_row(chunk, s->chunks, s->c->rows),
                   bpx_first_row(chunk + 1, s->chunks, s->c->rows));
}

static void FN(apply_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(apply_rows)(s, bpx_first_row(chunk, s->chunks, s->c->rows),
                   bpx_first_row(chunk + 1, s->chunks, s->c->rows));
}

/* The statistics of some channels: the chunks of rows merged in their order. */
static void FN(finish_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const FN(Forward) *c = s->c;
    const int64_t last = bpx_first_row(chunk + 1, s->ranges, c->channels);
    for (int64_t i = bpx_first_row(chunk, s->ranges, c->channels); i < last; i++) {
        s->shift[i] = 0;
        s->weight[i] = c->weight == NULL ? 1 : c->weight[i];
        s->bias[i] = c->bias == NULL ? 0 : c->bias[i];
        if (c->running_mean != NULL) {
            c->mean[i] = c->running_mean[i], c->var[i] = c->running_var[i];
        } else {
            bpx_moments m = s->moments[i];
            for (int64_t at = 1; at < s->chunks; at++) {
                const bpx_moments *other = s->moments + at * c->channels + i;
                bpx_merge(&m, other->count, other->sum, other->mean, 0, other->squares);
            }
            FN(statistics)(&m, &c->mean[i], &s->shift[i], &c->var[i]);
        }
        c->rstd[i] = FN(reciprocal)(c->var[i], c->eps);
    }
}

BPX_EXPORT int FN(bpx_batch_norm_rows_forward)(const void *call, bpx_parallel_for parallel,
                                               void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.c = c, .chunks = bpx_chunks(c->rows, c->channels)};
    const int64_t partial = c->running_mean != NULL ? 0 : s.chunks * c->channels;
    s.moments = malloc((size_t)partial * sizeof(bpx_moments) +
                       (size_t)(3 * partial + 3 * c->channels) * sizeof(A));
    if (s.moments == NULL) return 1;
    s.sums = (A *)(s.moments + partial);
    s.shift = s.sums + 3 * partial, s.weight = s.shift + c->channels;
    s.bias = s.weight + c->channels;
    if (c->running_mean == NULL) bpx_run(parallel, host, s.chunks, FN(moments_task), &s);
    s.ranges = bpx_chunks(c->channels, MERGED * s.chunks);
    bpx_run(parallel, host, s.ranges, FN(finish_task), &s);
    bpx_run(parallel, host, s.chunks, FN(apply_task), &s);
    free(s.moments);
    return 0;
}
