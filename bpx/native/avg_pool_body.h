/* One element type (each_type.h). Included by avg_pool.c. */

typedef struct {
    const T *in; /* x, or dy */
    T *out;      /* y, or dx */
    bpx_windows windows;
    int64_t with_padding, divisor; /* 0: the number of positions */
} FN(Call);

typedef struct {
    const FN(Call) *c;
    int64_t chunks, back;
    A *memory;   /* chunks x (a row of outputs, and in backward a plane of places) */
    A *divisors; /* along the last axis */
} FN(State);

/* sum[o] += x[o stride + at] for lo <= o < hi, or back: dx[o stride + at] += sum[o] */
BPX_INLINE void FN(along_row)(A *restrict sum, const T *restrict x, A *restrict dx, int64_t lo,
                              int64_t hi, int64_t at, int64_t stride) {
    if (x != NULL) {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) sum[o] += LOAD(x[o * stride + at]);
    } else {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) dx[o * stride + at] += sum[o];
    }
}

BPX_INLINE void FN(shift)(A *sum, const T *x, A *dx, int64_t lo, int64_t hi, int64_t at,
                          int64_t stride) {
    if (stride == 1) FN(along_row)(sum, x, dx, lo, hi, at, 1);
    else if (stride == 2) FN(along_row)(sum, x, dx, lo, hi, at, 2);
    else FN(along_row)(sum, x, dx, lo, hi, at, stride);
}

/* A row of windows: its sum of x into `sum`, or, with dx, `sum` onto every position. */
BPX_INLINE void FN(window_row)(const bpx_windows *w, int64_t o0, int64_t o1, A *sum, const T *x,
                               A *dx) {
    const bpx_axis *a = w->axis, *last = a + 2;
    for (int64_t i0 = 0; i0 < a[0].size; i0++) {
        const int64_t p0 = bpx_begin(a, o0) + i0;
        if (p0 < 0 || p0 >= a[0].length) continue;
        for (int64_t i1 = 0; i1 < a[1].size; i1++) {
            const int64_t p1 = bpx_begin(a + 1, o1) + i1;
            if (p1 < 0 || p1 >= a[1].length) continue;
            const int64_t row = (p0 * a[1].length + p1) * last->length;
            for (int64_t i = 0; i < last->size; i++) {
                int64_t lo, hi;
                bpx_inside(last, i, &lo, &hi);
                FN(shift)(sum, x == NULL ? NULL : x + row, dx == NULL ? NULL : dx + row, lo, hi,
                          i - last->padding, last->stride);
            }
        }
    }
}

BPX_INLINE void FN(adaptive_row)(const bpx_windows *w, int64_t o0, int64_t o1, A *sums, const T *x,
                                 A *dx) {
    const bpx_axis *a = w->axis;
    for (int64_t p0 = bpx_begin(a, o0); p0 < bpx_end(a, o0); p0++)
        for (int64_t p1 = bpx_begin(a + 1, o1); p1 < bpx_end(a + 1, o1); p1++) {
            const int64_t row = (p0 * a[1].length + p1) * a[2].length;
            for (int64_t o = 0; o < a[2].outputs; o++) {
                const int64_t from = row + bpx_begin(a + 2, o), to = row + bpx_end(a + 2, o);
                if (x != NULL) {
                    A sum = 0;
#pragma omp simd reduction(+ : sum)
                    for (int64_t p = from; p < to; p++) sum += LOAD(x[p]);
                    sums[o] += sum;
                } else {
                    const A g = sums[o];
#pragma omp simd
                    for (int64_t p = from; p < to; p++) dx[p] += g;
                }
            }
        }
}

BPX_CLONES static void FN(each_plane)(const FN(State) *s, int64_t chunk, int64_t first,
                                      int64_t last) {
    const FN(Call) *c = s->c;
    const bpx_windows *w = &c->windows;
    const bpx_axis *a = w->axis;
    const int64_t n = a[2].outputs, places = bpx_places(w), outputs = bpx_outputs(w);
    A *restrict sum = s->memory + chunk * (n + (s->back ? places : 0)), *plane = sum + n;
    const A *restrict divisors = s->divisors;
    for (int64_t at = first; at < last; at++) {
        const T *x = s->back ? NULL : c->in + at * places;
        if (s->back) memset(plane, 0, (size_t)places * sizeof(A));
        for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
            for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
                const int64_t row = at * outputs + (o0 * a[1].outputs + o1) * n;
                const A both = c->divisor != 0
                                   ? (A)c->divisor
                                   : (A)(bpx_counted(a, o0, c->with_padding) *
                                         bpx_counted(a + 1, o1, c->with_padding));
                if (s->back) {
                    const T *restrict dy = c->in + row;
#pragma omp simd
                    for (int64_t o = 0; o < n; o++) sum[o] = LOAD(dy[o]) / (both * divisors[o]);
                } else {
                    memset(sum, 0, (size_t)n * sizeof(A));
                }
                if (a[2].size == 0) FN(adaptive_row)(w, o0, o1, sum, x, plane);
                else FN(window_row)(w, o0, o1, sum, x, s->back ? plane : NULL);
                if (s->back) continue;
                T *restrict y = c->out + row;
#pragma omp simd
                for (int64_t o = 0; o < n; o++) y[o] = STORE(sum[o] / (both * divisors[o]));
            }
        if (!s->back) continue;
        T *restrict dx = c->out + at * places;
#pragma omp simd
        for (int64_t p = 0; p < places; p++) dx[p] = STORE(plane[p]);
    }
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(each_plane)(s, chunk, bpx_first_row(chunk, s->chunks, s->c->windows.planes),
                   bpx_first_row(chunk + 1, s->chunks, s->c->windows.planes));
}

static int FN(pool)(const FN(Call) *c, bpx_parallel_for parallel, void *host, int64_t back) {
    const bpx_windows *w = &c->windows;
    const int64_t n = w->axis[2].outputs;
    FN(State) s = {.c = c, .back = back, .chunks = bpx_plane_chunks(w)};
    const int64_t each = n + (back ? bpx_places(w) : 0);
    s.memory = malloc((size_t)(s.chunks * each + n) * sizeof(A));
    if (s.memory == NULL) return 1;
    s.divisors = s.memory + s.chunks * each;
    for (int64_t o = 0; o < n; o++)
        s.divisors[o] = c->divisor != 0 ? 1 : (A)bpx_counted(&w->axis[2], o, c->with_padding);
    bpx_run(parallel, host, s.chunks, FN(task), &s);
    free(s.memory);
    return 0;
}

BPX_EXPORT int FN(bpx_avg_pool_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    return FN(pool)(call, parallel, host, 0);
}

BPX_EXPORT int FN(bpx_avg_pool_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    return FN(pool)(call, parallel, host, 1);
}
