/* One element type (each_type.h). Included by batch_norm_rows_backward.c. */
#include "statistics_body.h"

typedef struct {
    const T *dy, *x;
    const A *weight, *mean, *rstd; /* rstd: the variance where statistics are running ones */
    T *dx;
    A *dweight, *dbias, *drunning_mean, *drunning_var;
    int64_t rows, channels, running;
    double eps;
} FN(Backward);

typedef struct {
    const FN(Backward) *c;
    int64_t chunks, ranges;                 /* of rows, of channels */
    double *totals;                         /* chunks x SUMS x channels */
    A *sums;                                /* the same, of one block */
    A *rstd, *weight, *shift, *about, *along; /* by channel */
} FN(State);

/* One element of row k. Four rows at a time are added to what a channel has. */
#define BPX_ADD_ELEMENT(k)                                                                         \
    const A xhat##k = (LOAD(x##k[i]) - mean[i]) * rstd[i], d##k = LOAD(dy##k[i]);                  \
    const A g##k = d##k * weight[i];

BPX_CLONES static void FN(add_rows)(const FN(State) *s, int64_t chunk, int64_t first,
                                    int64_t last) {
    const int64_t n = s->c->channels;
    double *restrict totals = s->totals + chunk * SUMS * n;
    A *restrict xhats = s->sums + chunk * SUMS * n, *restrict gs = xhats + n;
    A *restrict gxs = gs + n, *restrict dys = gxs + n, *restrict dyxs = dys + n;
    const A *restrict mean = s->c->mean, *restrict rstd = s->rstd, *restrict weight = s->weight;
    memset(totals, 0, (size_t)(SUMS * n) * sizeof(double));
    for (int64_t at = first; at < last; at += BLOCK_ROWS) {
        const int64_t end = last - at < BLOCK_ROWS ? last : at + BLOCK_ROWS;
        memset(xhats, 0, (size_t)(SUMS * n) * sizeof(A));
        int64_t row = at;
        for (; row + 4 <= end; row += 4) {
            const T *restrict x0 = s->c->x + row * n, *restrict dy0 = s->c->dy + row * n;
            const T *restrict x1 = x0 + n, *restrict x2 = x1 + n, *restrict x3 = x2 + n;
            const T *restrict dy1 = dy0 + n, *restrict dy2 = dy1 + n, *restrict dy3 = dy2 + n;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                BPX_ADD_ELEMENT(0) BPX_ADD_ELEMENT(1) BPX_ADD_ELEMENT(2) BPX_ADD_ELEMENT(3)
                xhats[i] += (xhat0 + xhat1) + (xhat2 + xhat3);
                gs[i] += (g0 + g1) + (g2 + g3);
                gxs[i] += (g0 * xhat0 + g1 * xhat1) + (g2 * xhat2 + g3 * xhat3);
                dys[i] += (d0 + d1) + (d2 + d3);
                dyxs[i] += (d0 * xhat0 + d1 * xhat1) + (d2 * xhat2 + d3 * xhat3);
            }
        }
        for (; row < end; row++) {
            const T *restrict x0 = s->c->x + row * n, *restrict dy0 = s->c->dy + row * n;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                BPX_ADD_ELEMENT(0)
                xhats[i] += xhat0;
                gs[i] += g0;
                gxs[i] += g0 * xhat0;
                dys[i] += d0;
                dyxs[i] += d0 * xhat0;
            }
        }
        for (int64_t i = 0; i < SUMS * n; i++) totals[i] += xhats[i];
    }
}

BPX_CLONES static void FN(write_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->c->channels;
    const A *restrict mean = s->c->mean, *restrict rstd = s->rstd, *restrict weight = s->weight;
    const A *restrict shift = s->shift, *restrict about = s->about, *restrict along = s->along;
    int64_t row = first;
    for (; row + 2 <= last; row += 2) { /* what a channel has is read once for both */
        const T *restrict x = s->c->x + row * n, *restrict dy = s->c->dy + row * n;
        const T *restrict x1 = x + n, *restrict dy1 = dy + n;
        T *restrict dx = s->c->dx + row * n, *restrict dx1 = dx + n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A xhat = (LOAD(x[i]) - mean[i]) * rstd[i] - shift[i];
            const A xhat1 = (LOAD(x1[i]) - mean[i]) * rstd[i] - shift[i];
            dx[i] = STORE(rstd[i] * (LOAD(dy[i]) * weight[i] - about[i] - xhat * along[i]));
            dx1[i] = STORE(rstd[i] * (LOAD(dy1[i]) * weight[i] - about[i] - xhat1 * along[i]));
        }
    }
    for (; row < last; row++) {
        const T *restrict x = s->c->x + row * n, *restrict dy = s->c->dy + row * n;
        T *restrict dx = s->c->dx + row * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A xhat = (LOAD(x[i]) - mean[i]) * rstd[i] - shift[i];
            dx[i] = STORE(rstd[i] * (LOAD(dy[i]) * weight[i] - about[i] - xhat * along[i]));
        }
    }
}

static void FN(add_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(add_rows)(s, chunk, bpx_first_row(chunk, s->chunks, s->c->rows),
                 bpx_first_row(chunk + 1, s->chunks, s->c->rows));
}

static void FN(write_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(write_rows)(s, bpx_first_row(chunk, s->chunks, s->c->rows),
                   bpx_first_row(chunk + 1, s->chunks, s->c->rows));
}

/* The sums of some channels over all chunks, in their order, and what follows from them. */
BPX_CLONES static void FN(finish)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Backward) *c = s->c;
    const int64_t n = c->channels;
    for (int64_t chunk = 1; chunk < s->chunks; chunk++)
        for (int which = 0; which < SUMS; which++) {
            double *restrict total = s->totals + which * n;
            const double *restrict more = total + chunk * SUMS * n;
            for (int64_t i = first; i < last; i++) total[i] += more[i];
        }
    for (int64_t i = first; i < last; i++) {
        double t[SUMS];
        for (int which = 0; which < SUMS; which++) t[which] = s->totals[which * n + i];
        const double count = (double)c->rows, shift = c->running ? 0 : t[XHAT] / count;
        const A rstd = s->rstd[i];
        const double about = c->running ? 0 : t[G] / count;
        s->shift[i] = (A)shift, s->about[i] = (A)about;
        s->along[i] = c->running ? 0 : (A)(t[GX] / count - shift * about);
        const int whole = isfinite(t[DY]) && isfinite(t[DYX]);
        if (c->dweight != NULL) c->dweight[i] = (A)(whole ? t[DYX] - shift * t[DY] : t[DYX]);
        if (c->dbias != NULL) c->dbias[i] = (A)t[DY];
        if (c->drunning_mean != NULL) c->drunning_mean[i] = -rstd * (A)t[G];
        if (c->drunning_var != NULL) c->drunning_var[i] = (A)-0.5 * (rstd * rstd) * (A)t[GX];
    }
}

static void FN(finish_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(finish)(s, bpx_first_row(chunk, s->ranges, s->c->channels),
               bpx_first_row(chunk + 1, s->ranges, s->c->channels));
}

BPX_EXPORT int FN(bpx_batch_norm_rows_backward)(const void *call, bpx_parallel_for parallel,
                                                void *host) {
    const FN(Backward) *c = call;
    const int64_t n = c->channels;
    FN(State) s = {.c = c, .chunks = bpx_chunks(c->rows, n)};
    const int64_t partial = s.chunks * SUMS * n;
    s.totals = malloc((size_t)partial * sizeof(double) + (size_t)(partial + 5 * n) * sizeof(A));
    if (s.totals == NULL) return 1;
    s.sums = (A *)(s.totals + partial);
    s.weight = s.sums + partial, s.shift = s.weight + n, s.about = s.shift + n;
    s.along = s.about + n, s.rstd = s.along + n;
    for (int64_t i = 0; i < n; i++) {
        s.weight[i] = c->weight == NULL ? 1 : c->weight[i];
        s.rstd[i] = c->running ? FN(reciprocal)(c->rstd[i], c->eps) : c->rstd[i];
    }
    bpx_run(parallel, host, s.chunks, FN(add_task), &s);
    s.ranges = bpx_chunks(n, SUMS * s.chunks);
    bpx_run(parallel, host, s.ranges, FN(finish_task), &s);
    if (c->dx != NULL) bpx_run(parallel, host, s.chunks, FN(write_task), &s);
    free(s.totals);
    return 0;
}
