/* One element type (each_type.h). Included by standardize_backward.c.
 *
 * With g = dy * weight and xhat = (x - mean) * rstd, sums and means over a set:
 *     dx = rstd * (g - mean(g)              through mean
 *                    - xhat * mean(g xhat)) through rstd        statistics of x
 *     dx = rstd * g                                             running statistics
 *     dweight = sum(dy xhat),  dbias = sum(dy)                  over a channel
 *     drunning_mean = -rstd sum(g),  drunning_var = -rstd^2 / 2 sum(g xhat)
 * The mean of xhat is 0 but for the rounding of mean: it is summed along and taken off. */
#include "statistics_body.h"

typedef struct {
    const T *dy, *x;
    const A *weight, *mean, *rstd; /* rstd: the variance where statistics are running ones */
    T *dx;
    A *dweight, *dbias;
    A *drunning_mean, *drunning_var;
    int64_t batch, channels, places, groups, running;
    double eps;
} FN(Backward);

typedef struct {
    const FN(Backward) *c;
    bpx_sets sets;
    int64_t chunks;
    double *along, *about; /* sums of dy xhat and of dy: sets x channels of a set */
} FN(State);

BPX_INLINE A FN(rstd_of)(const FN(Backward) *c, int64_t set) {
    return c->running ? FN(reciprocal)(c->rstd[set], c->eps) : c->rstd[set];
}

typedef struct {
    double xhat, dy, dyx;
} FN(Sums);

BPX_INLINE FN(Sums) FN(sum_run)(const T *restrict x, const T *restrict dy, int64_t n, A mu,
                                A rstd) {
    FN(Sums) sums = {0, 0, 0};
    for (int64_t at = 0; at < n; at += BPX_BLOCK) {
        const int64_t end = n - at < BPX_BLOCK ? n : at + BPX_BLOCK;
        A shift = 0, dy_sum = 0, dyx_sum = 0;
#pragma omp simd reduction(+ : shift, dy_sum, dyx_sum)
        for (int64_t i = at; i < end; i++) {
            const A xhat = (LOAD(x[i]) - mu) * rstd, d = LOAD(dy[i]);
            shift += xhat;
            dy_sum += d;
            dyx_sum += d * xhat;
        }
        sums.xhat += shift;
        sums.dy += dy_sum;
        sums.dyx += dyx_sum;
    }
    return sums;
}

BPX_INLINE void FN(write_run)(T *restrict dx, const T *restrict x, const T *restrict dy, int64_t n,
                              A mu, A rstd, A weight, A shift, A about, A along) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const A xhat = (LOAD(x[i]) - mu) * rstd - shift, g = LOAD(dy[i]) * weight;
        dx[i] = STORE(rstd * (g - about - xhat * along));
    }
}

BPX_INLINE double FN(without)(double sum, double shift, double of) {
    return isfinite(sum) && isfinite(of) ? sum - shift * of : sum;
}

typedef struct {
    double shift, g, gx;
} FN(Means);

/* Of a set's sums of xhat, of g and of g xhat; and what the running statistics get. */
BPX_INLINE FN(Means) FN(means)(const FN(State) *s, int64_t set, double xhat, double g, double gx) {
    const FN(Backward) *c = s->c;
    const double count = (double)(s->sets.runs * s->sets.places);
    const A rstd = FN(rstd_of)(c, set);
    FN(Means) m = {0, 0, 0};
    if (!c->running) {
        m.shift = xhat / count, m.g = g / count;
        m.gx = gx / count - m.shift * m.g;
    }
    if (c->drunning_mean != NULL) c->drunning_mean[set] = -rstd * (A)g;
    if (c->drunning_var != NULL) c->drunning_var[set] = (A)-0.5 * (rstd * rstd) * (A)gx;
    return m;
}

/* w sum: an infinite weight makes NaN of a dy of 0, which a sum of dy no longer tells. */
BPX_INLINE double FN(weighted)(double w, double sum) { return isfinite(w) ? w * sum : NAN; }

BPX_CLONES static void FN(backward_sets)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Backward) *c = s->c;
    const bpx_sets *k = &s->sets;
    for (int64_t set = first; set < last; set++) {
        const T *x = c->x + set * k->step, *dy = c->dy + set * k->step;
        const A mu = c->mean[set], rstd = FN(rstd_of)(c, set);
        const A *weight = c->weight == NULL ? NULL : c->weight + set % k->period * k->channels;
        double *along = s->along + set * k->channels, *about = s->about + set * k->channels;
        double xhat_sum = 0, g_sum = 0, gx_sum = 0;
        for (int64_t run = 0; run < k->runs; run++) {
            const int64_t own = k->channels == 1 ? 0 : run;
            const double w = weight == NULL ? 1 : weight[own];
            const FN(Sums) sums =
                FN(sum_run)(x + run * k->stride, dy + run * k->stride, k->places, mu, rstd);
            if (own == run) along[own] = about[own] = 0;
            along[own] += sums.dyx;
            about[own] += sums.dy;
            xhat_sum += sums.xhat;
            g_sum += FN(weighted)(w, sums.dy);
            gx_sum += FN(weighted)(w, sums.dyx);
        }
        const FN(Means) m = FN(means)(s, set, xhat_sum, g_sum, gx_sum);
        for (int64_t own = 0; own < k->channels; own++)
            along[own] = FN(without)(along[own], m.shift, about[own]);
        for (int64_t run = 0; run < k->runs && c->dx != NULL; run++) {
            const A w = weight == NULL ? 1 : weight[k->channels == 1 ? 0 : run];
            const int64_t at = set * k->step + run * k->stride;
            FN(write_run)(c->dx + at, c->x + at, c->dy + at, k->places, mu, rstd, w,
                          (A)m.shift, (A)m.g, (A)m.gx);
        }
    }
}

/* Batch normalisation of short stretches, of as many channels at a time as BPX_COLUMNS hold. */
BPX_CLONES static void FN(backward_short)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Backward) *c = s->c;
    const int64_t places = s->sets.places, block = BPX_COLUMNS / places, runs = s->sets.runs;
    const int64_t stride = s->sets.stride;
    double totals[3 * BPX_COLUMNS];
    A sums[3 * BPX_COLUMNS], mean[BPX_COLUMNS], rstd[BPX_COLUMNS], weight[BPX_COLUMNS];
    A *restrict xhats = sums, *restrict dys = sums + BPX_COLUMNS, *restrict dyxs = dys + BPX_COLUMNS;
    A *restrict shift = xhats, *restrict about = dys, *restrict along = dyxs; /* afterwards */
    for (int64_t at = first; at < last; at += block) {
        const int64_t channels = bpx_least(block, last - at), n = channels * places;
        const T *from = c->x + at * places, *dfrom = c->dy + at * places;
        for (int64_t i = 0; i < channels; i++) {
            const A r = FN(rstd_of)(c, at + i), w = c->weight == NULL ? 1 : c->weight[at + i];
            for (int64_t j = i * places; j < (i + 1) * places; j++)
                mean[j] = c->mean[at + i], rstd[j] = r, weight[j] = w;
        }
        memset(totals, 0, sizeof totals);
        for (int64_t top = 0; top < runs; top += BPX_BLOCK_ROWS) {
            memset(sums, 0, sizeof sums);
            for (int64_t run = top; run < bpx_least(runs, top + BPX_BLOCK_ROWS); run++) {
                const T *restrict x = from + run * stride, *restrict dy = dfrom + run * stride;
#pragma omp simd
                for (int64_t i = 0; i < n; i++) {
                    const A xhat = (LOAD(x[i]) - mean[i]) * rstd[i], d = LOAD(dy[i]);
                    xhats[i] += xhat;
                    dys[i] += d;
                    dyxs[i] += d * xhat;
                }
            }
            for (int64_t i = 0; i < 3 * BPX_COLUMNS; i++) totals[i] += sums[i];
        }
        for (int64_t i = 0; i < channels; i++) {
            double xhat = 0, dy = 0, dyx = 0;
            for (int64_t j = i * places; j < (i + 1) * places; j++) {
                xhat += totals[j];
                dy += totals[BPX_COLUMNS + j];
                dyx += totals[2 * BPX_COLUMNS + j];
            }
            const double w = weight[i * places];
            const FN(Means) m =
                FN(means)(s, at + i, xhat, FN(weighted)(w, dy), FN(weighted)(w, dyx));
            s->about[at + i] = dy;
            s->along[at + i] = FN(without)(dyx, m.shift, dy);
            for (int64_t j = i * places; j < (i + 1) * places; j++)
                shift[j] = (A)m.shift, about[j] = (A)m.g, along[j] = (A)m.gx;
        }
        for (int64_t run = 0; run < runs && c->dx != NULL; run++) {
            const T *restrict x = from + run * stride, *restrict dy = dfrom + run * stride;
            T *restrict dx = c->dx + at * places + run * stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const A xhat = (LOAD(x[i]) - mean[i]) * rstd[i] - shift[i];
                const A g = LOAD(dy[i]) * weight[i];
                dx[i] = STORE(rstd[i] * (g - about[i] - xhat * along[i]));
            }
        }
    }
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->sets.sets);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->sets.sets);
    (bpx_are_columns(&s->sets, s->c->groups) ? FN(backward_short) : FN(backward_sets))(s, first, last);
}

/* A channel's total over the sets that hold it, the samples of a batch, in their order. */
static void FN(total)(A *out, const double *sums, int64_t sets, int64_t channels) {
    for (int64_t channel = 0; channel < channels && out != NULL; channel++) {
        double sum = 0;
        for (int64_t set = 0; set < sets; set++) sum += sums[set * channels + channel];
        out[channel] = (A)sum;
    }
}

BPX_EXPORT int FN(bpx_standardize_backward)(const void *call, bpx_parallel_for parallel,
                                            void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.c = c, .sets = bpx_make_sets(c->batch, c->channels, c->places, c->groups)};
    const int64_t parts = s.sets.sets * s.sets.channels;
    s.along = malloc((size_t)(2 * parts) * sizeof(double));
    if (s.along == NULL) return 1;
    s.about = s.along + parts;
    s.chunks = bpx_set_chunks(&s.sets, c->groups);
    bpx_run(parallel, host, s.chunks, FN(backward_task), &s);
    FN(total)(c->dweight, s.along, parts / c->channels, c->channels);
    FN(total)(c->dbias, s.about, parts / c->channels, c->channels);
    free(s.along);
    return 0;
}
