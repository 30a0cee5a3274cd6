/* One element type (each_type.h). Included by max_pool.c. Of equal elements the first in row-major
 * order is the maximum; of NaN the last. */

typedef struct {
    const T *x, *dy; /* dy is absent in forward */
    T *out;          /* y, or dx */
    bpx_windows windows;
} FN(Call);

typedef struct {
    const FN(Call) *c;
    int64_t chunks;
    A *memory;        /* chunks x (a row of outputs, and in backward a plane of places) */
    int32_t *winners; /* chunks x a row of outputs */
    int64_t *offsets; /* of each place of a window, from its first position */
} FN(State);

BPX_INLINE void FN(along_row)(A *restrict best, int32_t *restrict winner, const T *restrict x,
                              int64_t lo, int64_t hi, int64_t at, int64_t stride, int32_t place) {
    if (winner == NULL) {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) {
            const A v = LOAD(x[o * stride + at]);
            best[o] = (v > best[o]) | (v != v) ? v : best[o];
        }
    } else {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) {
            const A v = LOAD(x[o * stride + at]), b = best[o];
            const int32_t w = winner[o];
            const int better = (v > b) | (v != v) | (w < 0);
            best[o] = better ? v : b;
            winner[o] = better ? place : w;
        }
    }
}

BPX_INLINE void FN(shift)(A *best, int32_t *winner, const T *x, int64_t lo, int64_t hi, int64_t at,
                          int64_t stride, int32_t place) {
    if (stride == 1) FN(along_row)(best, winner, x, lo, hi, at, 1, place);
    else if (stride == 2) FN(along_row)(best, winner, x, lo, hi, at, 2, place);
    else FN(along_row)(best, winner, x, lo, hi, at, stride, place);
}

BPX_INLINE void FN(window_row)(const bpx_windows *w, int64_t o0, int64_t o1, A *best,
                               int32_t *winner, const T *x) {
    const bpx_axis *a = w->axis, *last = a + 2;
    for (int64_t i0 = 0; i0 < a[0].size; i0++) {
        const int64_t p0 = bpx_begin(a, o0) + i0 * a[0].dilation;
        if (p0 < 0 || p0 >= a[0].length) continue;
        for (int64_t i1 = 0; i1 < a[1].size; i1++) {
            const int64_t p1 = bpx_begin(a + 1, o1) + i1 * a[1].dilation;
            if (p1 < 0 || p1 >= a[1].length) continue;
            const T *row = x + (p0 * a[1].length + p1) * last->length;
            for (int64_t i = 0; i < last->size; i++) {
                int64_t lo, hi;
                bpx_inside(last, i, &lo, &hi);
                FN(shift)(best, winner, row, lo, hi, i * last->dilation - last->padding,
                          last->stride, (int32_t)((i0 * a[1].size + i1) * last->size + i));
            }
        }
    }
}

/* The maximum of an adaptive window, and where it lies in the plane. */
BPX_INLINE A FN(adaptive)(const bpx_windows *w, int64_t o0, int64_t o1, int64_t o2, const T *plane,
                          int64_t *winner) {
    const bpx_axis *a = w->axis;
    const int64_t from = bpx_begin(a + 2, o2), n = bpx_end(a + 2, o2) - from;
    A best = -INFINITY;
    int64_t found = -1;
    for (int64_t p0 = bpx_begin(a, o0); p0 < bpx_end(a, o0); p0++)
        for (int64_t p1 = bpx_begin(a + 1, o1); p1 < bpx_end(a + 1, o1); p1++) {
            const int64_t row = (p0 * a[1].length + p1) * a[2].length + from;
            const T *restrict x = plane + row;
            A most = -INFINITY, nans = 0;
#pragma omp simd reduction(max : most) reduction(+ : nans)
            for (int64_t i = 0; i < n; i++) {
                const A v = LOAD(x[i]);
                most = v > most ? v : most;
                nans += v != v ? 1 : 0;
            }
            if (nans > 0) {
                int64_t i = n - 1;
                while (LOAD(x[i]) == LOAD(x[i])) i--;
                best = LOAD(x[i]);
                found = row + i;
            } else if (found < 0 || most > best) {
                int64_t i = 0;
                while (LOAD(x[i]) != most) i++;
                best = most;
                found = row + i;
            }
        }
    *winner = found;
    return best;
}

BPX_CLONES static void FN(each_plane)(const FN(State) *s, int64_t chunk, int64_t first,
                                      int64_t last) {
    const FN(Call) *c = s->c;
    const bpx_windows *w = &c->windows;
    const bpx_axis *a = w->axis;
    const int64_t n = a[2].outputs, places = bpx_places(w), outputs = bpx_outputs(w);
    const int back = c->dy != NULL;
    A *restrict best = s->memory + chunk * (n + (back ? places : 0)), *restrict sums = best + n;
    int32_t *winner = back ? s->winners + chunk * n : NULL;
    for (int64_t at = first; at < last; at++) {
        const T *x = c->x + at * places;
        if (back) memset(sums, 0, (size_t)places * sizeof(A));
        for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
            for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
                const int64_t row = at * outputs + (o0 * a[1].outputs + o1) * n;
                if (a[2].size == 0) {
                    for (int64_t o = 0; o < n; o++) {
                        int64_t place;
                        const A most = FN(adaptive)(w, o0, o1, o, x, &place);
                        if (back) sums[place] += LOAD(c->dy[row + o]);
                        else c->out[row + o] = STORE(most);
                    }
                    continue;
                }
                for (int64_t o = 0; o < n; o++) best[o] = -INFINITY;
                for (int64_t o = 0; back && o < n; o++) winner[o] = -1;
                FN(window_row)(w, o0, o1, best, winner, x);
                if (back) {
                    const T *restrict dy = c->dy + row;
                    const int64_t base =
                        (bpx_begin(a, o0) * a[1].length + bpx_begin(a + 1, o1)) * a[2].length;
                    for (int64_t o = 0; o < n; o++)
                        sums[base + bpx_begin(a + 2, o) + s->offsets[winner[o]]] += LOAD(dy[o]);
                } else {
                    T *restrict y = c->out + row;
#pragma omp simd
                    for (int64_t o = 0; o < n; o++) y[o] = STORE(best[o]);
                }
            }
        if (!back) continue;
        T *restrict dx = c->out + at * places;
#pragma omp simd
        for (int64_t p = 0; p < places; p++) dx[p] = STORE(sums[p]);
    }
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(each_plane)(s, chunk, bpx_first_row(chunk, s->chunks, s->c->windows.planes),
                   bpx_first_row(chunk + 1, s->chunks, s->c->windows.planes));
}

BPX_EXPORT int FN(bpx_max_pool)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Call) *c = call;
    const bpx_windows *w = &c->windows;
    const bpx_axis *a = w->axis;
    const int64_t n = a[2].outputs, back = c->dy != NULL;
    FN(State) s = {.c = c, .chunks = bpx_plane_chunks(w)};
    const int64_t sums = s.chunks * (n + (back ? bpx_places(w) : 0));
    const int64_t count = back ? a[0].size * a[1].size * a[2].size : 0;
    s.offsets = malloc((size_t)count * sizeof(int64_t) + (size_t)sums * sizeof(A) +
                       (size_t)(s.chunks * n) * sizeof(int32_t));
    if (s.offsets == NULL) return 1;
    s.memory = (A *)(s.offsets + count);
    s.winners = (int32_t *)(s.memory + sums);
    for (int64_t i = 0; i < count; i++) {
        const int64_t i0 = i / (a[1].size * a[2].size), i1 = i / a[2].size % a[1].size;
        s.offsets[i] = (i0 * a[0].dilation * a[1].length + i1 * a[1].dilation) * a[2].length +
                       i % a[2].size * a[2].dilation;
    }
    bpx_run(parallel, host, s.chunks, FN(task), &s);
    free(s.offsets);
    return 0;
}
