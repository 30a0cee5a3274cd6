/* One element type (each_type.h). Included by upsample.c. */
#include "upsample_tables_body.h"

/* sum += share * row, or the first of these: sum = share * row */
BPX_INLINE void FN(add)(A *restrict sum, const T *restrict row, int64_t n, A share, int begun) {
    if (!begun) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[i] = share * LOAD(row[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) sum[i] += share * LOAD(row[i]);
    }
}

/* Which rows of elements an output row at (o0, o1) is made of, and their shares. Returns how many. */
BPX_INLINE int FN(corners)(const FN(State) *s, int64_t o0, int64_t o1, int64_t *rows, A *shares) {
    const FN(Axis) *t = s->axis;
    int n = 0;
    for (int corner = 0; corner < (s->nearest ? 1 : 4); corner++) {
        if ((corner & 2 && s->c->resize.axes < 3) || (corner & 1 && s->c->resize.axes < 2)) continue;
        const int64_t p0 = corner & 2 ? t[0].high[o0] : t[0].low[o0];
        const int64_t p1 = corner & 1 ? t[1].high[o1] : t[1].low[o1];
        rows[n] = p0 * s->c->resize.axis[1].length + p1;
        shares[n++] = (corner & 2 ? t[0].move[o0] : t[0].keep[o0]) *
                      (corner & 1 ? t[1].move[o1] : t[1].keep[o1]);
    }
    return n;
}

/* Each row of elements is resized along itself once, into `wide`, when the first output looks at it. */
BPX_CLONES static void FN(forward_plane)(const FN(State) *s, const T *x, T *y, A *wide,
                                         uint8_t *have) {
    const bpx_resized *a = s->c->resize.axis;
    const FN(Axis) *t = s->axis;
    const int64_t n = a[2].length, outputs = a[2].outputs;
    const int32_t *restrict low = t[2].low, *restrict high = t[2].high;
    const A *restrict keep = t[2].keep, *restrict move = t[2].move;
    memset(have, 0, (size_t)(s->places / n));
    for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
        for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
            T *restrict out = y + (o0 * a[1].outputs + o1) * outputs;
            int64_t rows[4];
            A share[4];
            const int looks = FN(corners)(s, o0, o1, rows, share);
            if (s->nearest) {
                const T *restrict in = x + rows[0] * n;
                if (o1 > 0 && t[1].low[o1] == t[1].low[o1 - 1]) {
                    memcpy(out, out - outputs, (size_t)outputs * sizeof(T));
                    continue;
                }
#pragma omp simd
                for (int64_t o = 0; o < outputs; o++) out[o] = in[low[o]];
                continue;
            }
            for (int look = 0; look < looks; look++) {
                if (have[rows[look]]) continue;
                const T *restrict in = x + rows[look] * n;
                A *restrict row = wide + rows[look] * outputs;
#pragma omp simd
                for (int64_t o = 0; o < outputs; o++)
                    row[o] = keep[o] * LOAD(in[low[o]]) + move[o] * LOAD(in[high[o]]);
                have[rows[look]] = 1;
            }
            const A *w0 = wide + rows[0] * outputs;
            if (looks == 1) {
#pragma omp simd
                for (int64_t o = 0; o < outputs; o++) out[o] = STORE(w0[o]);
                continue;
            }
            const A *w1 = wide + rows[1] * outputs;
            if (looks == 2) {
#pragma omp simd
                for (int64_t o = 0; o < outputs; o++)
                    out[o] = STORE(share[0] * w0[o] + share[1] * w1[o]);
                continue;
            }
            const A *w2 = wide + rows[2] * outputs, *w3 = wide + rows[3] * outputs;
#pragma omp simd
            for (int64_t o = 0; o < outputs; o++)
                out[o] = STORE((share[0] * w0[o] + share[1] * w1[o]) +
                               (share[2] * w2[o] + share[3] * w3[o]));
        }
}

/* The other way round: whole rows of outputs are added up, and then each along itself, into `row`. */
BPX_CLONES static void FN(backward_plane)(const FN(State) *s, const T *dy, T *dx, A *wide,
                                          A *restrict row, uint8_t *have) {
    const bpx_resized *a = s->c->resize.axis;
    const int64_t n = a[2].length, outputs = a[2].outputs;
    memset(have, 0, (size_t)(s->places / n));
    for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
        for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
            const T *restrict in = dy + (o0 * a[1].outputs + o1) * outputs;
            int64_t rows[4];
            A share[4];
            const int looks = FN(corners)(s, o0, o1, rows, share);
            for (int look = 0; look < looks; look++) {
                FN(add)(wide + rows[look] * outputs, in, outputs, share[look], have[rows[look]]);
                have[rows[look]] = 1;
            }
        }
    for (int64_t at_row = 0; at_row < s->places / n; at_row++, dx += n) {
        if (!have[at_row]) {
            memset(dx, 0, (size_t)n * sizeof(T));
            continue;
        }
        const A *restrict sums = wide + at_row * outputs;
        memset(row, 0, (size_t)n * sizeof(A));
        for (int64_t l = 0; l < s->looks; l++) {
            const int32_t *restrict from = s->from + l * n, *restrict count = s->count;
            const A *restrict share = s->shares + l * n;
            const int32_t at = (int32_t)l;
#pragma omp simd
            for (int64_t p = 0; p < n; p++) {
                const A part = share[p] * sums[from[p]];
                row[p] += at < count[p] ? part : 0;
            }
        }
#pragma omp simd
        for (int64_t p = 0; p < n; p++) dx[p] = STORE(row[p]);
    }
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const FN(Call) *c = s->c;
    const int64_t n = c->resize.axis[2].length, rows = s->places / n;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, c->resize.planes);
    A *row = s->memory + chunk * s->each, *wide = row + n;
    uint8_t *have = s->have + chunk * rows;
    for (int64_t at = bpx_first_row(chunk, s->chunks, c->resize.planes); at < last; at++) {
        if (s->back)
            FN(backward_plane)(s, c->in + at * s->outputs, c->out + at * s->places, wide, row, have);
        else
            FN(forward_plane)(s, c->in + at * s->places, c->out + at * s->outputs, wide, have);
    }
}

static int FN(resize)(const FN(Call) *c, bpx_parallel_for parallel, void *host, int64_t nearest,
                      int64_t back) {
    const bpx_resized *a = c->resize.axis;
    const int64_t n = a[2].length, all = a[0].outputs + a[1].outputs + a[2].outputs;
    FN(State) s = {.c = c, .nearest = nearest, .back = back};
    s.places = a[0].length * a[1].length * n;
    s.outputs = a[0].outputs * a[1].outputs * a[2].outputs;
    s.chunks = bpx_chunks(c->resize.planes, s.places + s.outputs);
    const int64_t rows = s.places / n;
    s.each = n + rows * a[2].outputs;
    const int64_t memory = s.chunks * s.each;
    A *numbers = malloc((size_t)(memory + 2 * all) * sizeof(A));
    int32_t *indices = malloc((size_t)(2 * all + n) * sizeof(int32_t));
    s.have = malloc((size_t)(s.chunks * rows));
    int failed = numbers == NULL || indices == NULL || s.have == NULL;
    if (!failed) {
        s.memory = numbers, s.count = indices + 2 * all;
        int64_t at = 0;
        for (int k = 0; k < 3; k++) {
            s.axis[k].low = indices + 2 * at, s.axis[k].high = s.axis[k].low + a[k].outputs;
            s.axis[k].keep = numbers + memory + 2 * at;
            s.axis[k].move = s.axis[k].keep + a[k].outputs;
            at += a[k].outputs;
        }
        FN(tables)(&s);
    }
    if (!failed && back) {
        s.looks = FN(most_looks)(&s);
        s.from = malloc((size_t)(s.looks * n) * sizeof(int32_t));
        s.shares = malloc((size_t)(s.looks * n) * sizeof(A));
        failed = s.from == NULL || s.shares == NULL;
        if (!failed) FN(transpose)(&s);
    }
    if (!failed) bpx_run(parallel, host, s.chunks, FN(task), &s);
    free(s.from), free(s.shares), free(numbers), free(indices), free(s.have);
    return failed;
}

BPX_EXPORT int FN(bpx_upsample_nearest_forward)(const void *c, bpx_parallel_for p, void *host) {
    return FN(resize)(c, p, host, 1, 0);
}

BPX_EXPORT int FN(bpx_upsample_nearest_backward)(const void *c, bpx_parallel_for p, void *host) {
    return FN(resize)(c, p, host, 1, 1);
}

BPX_EXPORT int FN(bpx_upsample_linear_forward)(const void *c, bpx_parallel_for p, void *host) {
    return FN(resize)(c, p, host, 0, 0);
}

BPX_EXPORT int FN(bpx_upsample_linear_backward)(const void *c, bpx_parallel_for p, void *host) {
    return FN(resize)(c, p, host, 0, 1);
}
