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
    A *memory;   /* chunks x (a row of outputs, a row of places, and in backward a plane of them) */
    A *divisors; /* along the last axis */
} FN(State);

enum { FN(IN_PLACE) = sizeof(T) == sizeof(A) }; /* dx itself holds the sums */

/* Whether no two rows of windows share a row of x, and whether every row of x is in one. */
static int FN(apart)(const bpx_axis *a) { return a->size > 0 && a->size <= a->stride; }
static int FN(covered)(const bpx_axis *a) {
    return a->size == a->stride && a->padding == 0 && a->outputs * a->stride >= a->length;
}

static int64_t FN(each)(const bpx_windows *w, int64_t back) {
    return w->axis[2].outputs + w->axis[2].length + (back && !FN(IN_PLACE) ? bpx_places(w) : 0);
}

/* sum[o] += line[o stride + at] for lo <= o < hi, or back: line[o stride + at] += sum[o] */
BPX_INLINE void FN(along)(A *restrict sum, A *restrict line, int64_t lo, int64_t hi, int64_t at,
                          int64_t stride, int64_t back) {
    if (back) {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) line[o * stride + at] += sum[o];
    } else {
#pragma omp simd
        for (int64_t o = lo; o < hi; o++) sum[o] += line[o * stride + at];
    }
}

/* The same for pairs side by side, at both of their places at once. */
BPX_INLINE void FN(pairs)(A *restrict sum, A *restrict line, int64_t n, int64_t back) {
    if (back) {
#pragma omp simd
        for (int64_t o = 0; o < n; o++) line[2 * o] = line[2 * o + 1] = sum[o];
    } else {
#pragma omp simd
        for (int64_t o = 0; o < n; o++) sum[o] = line[2 * o] + line[2 * o + 1];
    }
}

/* From a line of the sums of columns to the windows' sums, or back. */
BPX_INLINE void FN(windows_of_line)(const bpx_axis *a, A *sum, A *line, int64_t back) {
    if (a->size == 2 && a->stride == 2 && a->padding == 0 && 2 * a->outputs <= a->length) {
        FN(pairs)(sum, line, a->outputs, back);
        return;
    }
    for (int64_t i = 0; i < a->size; i++) {
        int64_t lo, hi;
        bpx_inside(a, i, &lo, &hi);
        const int64_t at = i - a->padding;
        if (a->stride == 1) FN(along)(sum, line, lo, hi, at, 1, back);
        else if (a->stride == 2) FN(along)(sum, line, lo, hi, at, 2, back);
        else FN(along)(sum, line, lo, hi, at, a->stride, back);
    }
}

/* A row of windows: its sum of x into `sum`, or, with dx, `sum` onto every position. The windows of a
 * row have the same rows of x: what is summed first, or spread last, are whole rows. */
BPX_INLINE void FN(window_row)(const bpx_windows *w, int64_t o0, int64_t o1, A *sum, A *restrict line,
                               const T *restrict x, A *restrict dx) {
    const bpx_axis *a = w->axis;
    const int64_t length = a[2].length, apart = FN(apart)(a) && FN(apart)(a + 1);
    int64_t rows = 0;
    if (dx != NULL) {
        memset(line, 0, (size_t)length * sizeof(A));
        FN(windows_of_line)(a + 2, sum, line, 1);
    }
    for (int64_t i0 = 0; i0 < a[0].size; i0++) {
        const int64_t p0 = bpx_begin(a, o0) + i0;
        if (p0 < 0 || p0 >= a[0].length) continue;
        for (int64_t i1 = 0; i1 < a[1].size; i1++) {
            const int64_t p1 = bpx_begin(a + 1, o1) + i1;
            if (p1 < 0 || p1 >= a[1].length) continue;
            const int64_t row = (p0 * a[1].length + p1) * length;
            if (dx != NULL) {
                if (apart) memcpy(dx + row, line, (size_t)length * sizeof(A));
                else {
#pragma omp simd
                    for (int64_t p = 0; p < length; p++) dx[row + p] += line[p];
                }
            } else if (rows++ == 0) {
#pragma omp simd
                for (int64_t p = 0; p < length; p++) line[p] = LOAD(x[row + p]);
            } else {
#pragma omp simd
                for (int64_t p = 0; p < length; p++) line[p] += LOAD(x[row + p]);
            }
        }
    }
    if (dx == NULL && rows > 0) FN(windows_of_line)(a + 2, sum, line, 0);
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
    A *sum = s->memory + chunk * FN(each)(w, s->back), *line = sum + n, *own = line + a[2].length;
    const A *restrict divisors = s->divisors;
    for (int64_t at = first; at < last; at++) {
        const T *x = s->back ? NULL : c->in + at * places;
        A *plane = FN(IN_PLACE) ? (A *)(c->out + at * places) : own; /* of dx */
        if (s->back && !(FN(covered)(a) && FN(covered)(a + 1))) memset(plane, 0, (size_t)places * sizeof(A));
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
                else FN(window_row)(w, o0, o1, sum, line, x, s->back ? plane : NULL);
                if (s->back) continue;
                T *restrict y = c->out + row;
#pragma omp simd
                for (int64_t o = 0; o < n; o++) y[o] = STORE(sum[o] / (both * divisors[o]));
            }
        if (!s->back || FN(IN_PLACE)) continue;
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
    s.memory = malloc((size_t)(s.chunks * FN(each)(w, back) + n) * sizeof(A));
    if (s.memory == NULL) return 1;
    s.divisors = s.memory + s.chunks * FN(each)(w, back);
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
