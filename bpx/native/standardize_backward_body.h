/* One element type (each_type.h). Included by standardize_backward.c.
 *
 * With g = dy * weight and xhat = (x - mean) * rstd, sums and means over a set:
 *     dx = rstd * (g - mean(g)              through mean
 *                    - xhat * mean(g xhat)) through rstd        statistics of x
 *     dx = rstd * g                                             running statistics
 *     dweight = sum(dy xhat),  dbias = sum(dy)                  over a channel
 *     drunning_mean = -rstd sum(g),  drunning_var = -rstd^2 / 2 sum(g xhat)
 * The mean of xhat is 0 but for the rounding of mean: it is summed along and taken off. */

typedef struct {
    const T *dy, *x;
    const A *weight, *mean, *rstd;
    T *dx;
    A *dweight, *dbias;
    A *drunning_mean, *drunning_var;
    int64_t batch, channels, places, groups, running;
} FN(Backward);

typedef struct {
    const FN(Backward) *c;
    bpx_sets sets;
    int64_t chunks;
    double *along, *about; /* sums of dy xhat and of dy: sets x channels of a set */
} FN(State);

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

BPX_CLONES static void FN(backward_sets)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Backward) *c = s->c;
    const bpx_sets *k = &s->sets;
    const double count = (double)(k->runs * k->places);
    for (int64_t set = first; set < last; set++) {
        const T *x = c->x + set * k->step, *dy = c->dy + set * k->step;
        const A mu = c->mean[set], rstd = c->rstd[set];
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
            /* an infinite weight makes NaN of a dy of 0, which a sum of dy no longer tells */
            g_sum += isfinite(w) ? w * sums.dy : NAN;
            gx_sum += isfinite(w) ? w * sums.dyx : NAN;
        }
        const double shift = c->running ? 0 : xhat_sum / count;
        const double g_mean = c->running ? 0 : g_sum / count;
        const double gx_mean = c->running ? 0 : gx_sum / count - shift * g_mean;
        for (int64_t own = 0; own < k->channels; own++)
            along[own] = FN(without)(along[own], shift, about[own]);
        if (c->drunning_mean != NULL) c->drunning_mean[set] = -rstd * (A)g_sum;
        if (c->drunning_var != NULL) c->drunning_var[set] = (A)-0.5 * (rstd * rstd) * (A)gx_sum;
        for (int64_t run = 0; run < k->runs && c->dx != NULL; run++) {
            const A w = weight == NULL ? 1 : weight[k->channels == 1 ? 0 : run];
            const int64_t at = set * k->step + run * k->stride;
            FN(write_run)(c->dx + at, c->x + at, c->dy + at, k->places, mu, rstd, w, (A)shift,
                          (A)g_mean, (A)gx_mean);
        }
    }
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(backward_sets)(s, bpx_first_row(chunk, s->chunks, s->sets.sets),
                      bpx_first_row(chunk + 1, s->chunks, s->sets.sets));
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
    s.chunks = bpx_chunks(s.sets.sets, s.sets.runs * s.sets.places);
    bpx_run(parallel, host, s.chunks, FN(backward_task), &s);
    FN(total)(c->dweight, s.along, parts / c->channels, c->channels);
    FN(total)(c->dbias, s.about, parts / c->channels, c->channels);
    free(s.along);
    return 0;
}
