/* One element type (each_type.h). Included by standardize_forward.c. */
#include "columns_body.h"
#include "statistics_body.h"

typedef struct {
    const T *x;
    const A *weight, *bias;              /* by channel */
    const A *running_mean, *running_var; /* by set, instead of the statistics of x */
    T *y;
    A *mean, *rstd, *var;                /* by set */
    int64_t batch, channels, places, groups;
    double eps;
} FN(Forward);

typedef struct {
    const FN(Forward) *c;
    bpx_sets sets;
    int64_t chunks;
} FN(State);

BPX_INLINE void FN(add_block)(bpx_moments *m, const T *restrict x, int64_t n) {
    A sum = 0, distances = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += LOAD(x[i]);
    const A about = sum / (A)n;
#pragma omp simd reduction(+ : distances, squares)
    for (int64_t i = 0; i < n; i++) {
        const A centred = LOAD(x[i]) - about;
        distances += centred;
        squares += centred * centred;
    }
    bpx_merge(m, (double)n, sum, about, distances, squares);
}

BPX_INLINE bpx_moments FN(moments)(const T *x, int64_t runs, int64_t length, int64_t stride) {
    bpx_moments m = {0, 0, 0, 0};
    for (int64_t run = 0; run < runs; run++)
        for (int64_t at = 0; at < length; at += BPX_BLOCK) {
            const int64_t left = length - at;
            FN(add_block)(&m, x + run * stride + at, left < BPX_BLOCK ? left : BPX_BLOCK);
        }
    return m;
}

BPX_INLINE void FN(apply)(const T *restrict x, T *restrict y, int64_t n, A mu, A shift, A rstd,
                          A weight, A bias) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = STORE((LOAD(x[i]) - mu - shift) * rstd * weight + bias);
}

BPX_CLONES static void FN(forward_sets)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Forward) *c = s->c;
    const bpx_sets *g = &s->sets;
    const int adjacent = g->stride == g->places;
    for (int64_t set = first; set < last; set++) {
        const T *x = c->x + set * g->step;
        T *y = c->y + set * g->step;
        A mu, shift = 0, var;
        if (c->running_mean != NULL) {
            mu = c->running_mean[set], var = c->running_var[set];
        } else {
            const bpx_moments m = adjacent ? FN(moments)(x, 1, g->runs * g->places, 0)
                                           : FN(moments)(x, g->runs, g->places, g->stride);
            FN(statistics)(&m, &mu, &shift, &var);
        }
        const A rstd = FN(reciprocal)(var, c->eps);
        c->mean[set] = mu;
        c->rstd[set] = rstd;
        if (c->var != NULL) c->var[set] = var;
        const int64_t channel = set % g->period * g->channels;
        const A *weight = c->weight == NULL ? NULL : c->weight + channel;
        const A *bias = c->bias == NULL ? NULL : c->bias + channel;
        if (g->places == 1 && g->channels > 1) {
            for (int64_t i = 0; i < g->runs; i++) {
                const A w = weight == NULL ? 1 : weight[i], b = bias == NULL ? 0 : bias[i];
                y[i] = STORE((LOAD(x[i]) - mu - shift) * rstd * w + b);
            }
            continue;
        }
        for (int64_t run = 0; run < g->runs; run++) {
            const int64_t own = g->channels == 1 ? 0 : run;
            FN(apply)(x + run * g->stride, y + run * g->stride, g->places, mu, shift, rstd,
                      weight == NULL ? 1 : weight[own], bias == NULL ? 0 : bias[own]);
        }
    }
}

/* Batch normalisation of short stretches, of as many channels at a time as BPX_COLUMNS hold. */
BPX_CLONES static void FN(forward_short)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Forward) *c = s->c;
    const int64_t places = s->sets.places, block = BPX_COLUMNS / places;
    bpx_moments m[BPX_COLUMNS];
    A sums[3 * BPX_COLUMNS], mean[BPX_COLUMNS], scale[BPX_COLUMNS], bias[BPX_COLUMNS];
    A rstd[BPX_COLUMNS], *shift = sums;
    for (int64_t at = first; at < last; at += block) {
        const int64_t channels = bpx_least(block, last - at), n = channels * places;
        const T *x = c->x + at * places;
        if (c->running_mean == NULL)
            FN(column_moments)(m, sums, x, s->sets.runs, channels, places, s->sets.stride);
        for (int64_t i = 0; i < channels; i++) {
            A mu, away = 0, var;
            if (c->running_mean != NULL) {
                mu = c->running_mean[at + i], var = c->running_var[at + i];
            } else {
                FN(statistics)(&m[i], &mu, &away, &var);
            }
            const A r = FN(reciprocal)(var, c->eps);
            c->mean[at + i] = mu, c->rstd[at + i] = r;
            if (c->var != NULL) c->var[at + i] = var;
            const A w = c->weight == NULL ? 1 : c->weight[at + i];
            const A b = c->bias == NULL ? 0 : c->bias[at + i];
            for (int64_t j = i * places; j < (i + 1) * places; j++)
                mean[j] = mu, shift[j] = away, rstd[j] = r, scale[j] = w, bias[j] = b;
        }
        for (int64_t run = 0; run < s->sets.runs; run++) {
            const T *restrict from = x + run * s->sets.stride;
            T *restrict y = c->y + at * places + run * s->sets.stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = STORE((LOAD(from[i]) - mean[i] - shift[i]) * rstd[i] * scale[i] + bias[i]);
        }
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->sets.sets);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->sets.sets);
    (bpx_are_columns(&s->sets, s->c->groups) ? FN(forward_short) : FN(forward_sets))(s, first, last);
}

BPX_EXPORT int FN(bpx_standardize_forward)(const void *call, bpx_parallel_for parallel,
                                           void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.c = c, .sets = bpx_make_sets(c->batch, c->channels, c->places, c->groups)};
    s.chunks = bpx_set_chunks(&s.sets, c->groups);
    bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    return 0;
}
