/* One element type (each_type.h). Included by upsample.c. */

/* What one axis looks like: output o is keep[o] x[low[o]] + move[o] x[high[o]]. */
typedef struct {
    int32_t *low, *high;
    A *keep, *move;
} FN(Axis);

typedef struct {
    const T *in; /* x, or dy */
    T *out;      /* y, or dx */
    bpx_resize resize;
} FN(Call);

typedef struct {
    const FN(Call) *c;
    int64_t chunks, nearest, back, places, outputs, looks;
    FN(Axis) axis[3];
    /* backward along the last axis: element p is sum_l of shares[l, p] dy[from[l, p]], of which the
     * first count[p] are there */
    int32_t *from, *count;
    A *shares, *memory; /* memory: chunks x (a row of elements and a plane of them) */
} FN(State);

static void FN(tables)(FN(State) *s) {
    const bpx_resize *r = &s->c->resize;
    for (int k = 0; k < 3; k++) {
        const bpx_resized *a = &r->axis[k];
        FN(Axis) *found = &s->axis[k];
        for (int64_t o = 0; o < a->outputs; o++) {
            double t = 0;
            if (s->nearest) {
                found->low[o] = bpx_nearest(a, r->scale[k], r->flag, sizeof(A) == 8, o);
                found->high[o] = found->low[o];
            } else {
                found->low[o] = bpx_linear(a, r->scale[k], r->flag, o, &t);
                found->high[o] = (int32_t)bpx_at_most(found->low[o] + 1, a->length - 1);
            }
            found->keep[o] = (A)(1 - t), found->move[o] = (A)t;
        }
    }
}

/* The outputs that look at one element lie in a row, since low and high do not fall. */
static int64_t FN(most_looks)(FN(State) *s) {
    const bpx_resized *a = &s->c->resize.axis[2];
    const FN(Axis) *t = &s->axis[2];
    int64_t first = 0, end = 0, most = 1;
    for (int64_t p = 0; p < a->length; p++) {
        while (first < a->outputs && t->high[first] < p) first++;
        while (end < a->outputs && t->low[end] <= p) end++;
        s->count[p] = (int32_t)(end > first ? end - first : 0);
        if (s->count[p] > most) most = s->count[p];
    }
    return most;
}

static void FN(transpose)(FN(State) *s) {
    const bpx_resized *a = &s->c->resize.axis[2];
    const FN(Axis) *t = &s->axis[2];
    int64_t first = 0;
    for (int64_t p = 0; p < a->length; p++) {
        while (first < a->outputs && t->high[first] < p) first++;
        for (int64_t l = 0; l < s->looks; l++) {
            const int64_t o = bpx_at_most(first + l, a->outputs - 1);
            s->from[l * a->length + p] = (int32_t)o;
            s->shares[l * a->length + p] =
                s->nearest ? 1 : (t->low[o] == p ? t->keep[o] : 0) + (t->high[o] == p ? t->move[o] : 0);
        }
    }
}

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

BPX_CLONES static void FN(forward_plane)(const FN(State) *s, const T *x, T *y, A *restrict row) {
    const bpx_resized *a = s->c->resize.axis;
    const FN(Axis) *t = s->axis;
    const int64_t n = a[2].length, outputs = a[2].outputs;
    const int32_t *restrict low = t[2].low, *restrict high = t[2].high;
    const A *restrict keep = t[2].keep, *restrict move = t[2].move;
    for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
        for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
            T *restrict out = y + (o0 * a[1].outputs + o1) * outputs;
            if (s->nearest) {
                const T *restrict in = x + (t[0].low[o0] * a[1].length + t[1].low[o1]) * n;
                if (o1 > 0 && t[1].low[o1] == t[1].low[o1 - 1]) {
                    memcpy(out, out - outputs, (size_t)outputs * sizeof(T));
                    continue;
                }
#pragma omp simd
                for (int64_t o = 0; o < outputs; o++) out[o] = in[low[o]];
                continue;
            }
            for (int corner = 0; corner < 4; corner++) {
                if ((corner & 2 && s->c->resize.axes < 3) || (corner & 1 && s->c->resize.axes < 2))
                    continue;
                const int64_t p0 = corner & 2 ? t[0].high[o0] : t[0].low[o0];
                const int64_t p1 = corner & 1 ? t[1].high[o1] : t[1].low[o1];
                const A share = (corner & 2 ? t[0].move[o0] : t[0].keep[o0]) *
                                (corner & 1 ? t[1].move[o1] : t[1].keep[o1]);
                FN(add)(row, x + (p0 * a[1].length + p1) * n, n, share, corner > 0);
            }
#pragma omp simd
            for (int64_t o = 0; o < outputs; o++)
                out[o] = STORE(keep[o] * row[low[o]] + move[o] * row[high[o]]);
        }
}

BPX_CLONES static void FN(backward_plane)(const FN(State) *s, const T *dy, T *dx, A *restrict row,
                                          A *plane) {
    const bpx_resized *a = s->c->resize.axis;
    const FN(Axis) *t = s->axis;
    const int64_t n = a[2].length, outputs = a[2].outputs;
    const int corners = s->nearest ? 1 : 4;
    memset(plane, 0, (size_t)s->places * sizeof(A));
    for (int64_t o0 = 0; o0 < a[0].outputs; o0++)
        for (int64_t o1 = 0; o1 < a[1].outputs; o1++) {
            const T *restrict in = dy + (o0 * a[1].outputs + o1) * outputs;
            memset(row, 0, (size_t)n * sizeof(A));
            for (int64_t l = 0; l < s->looks; l++) {
                const int32_t *restrict from = s->from + l * n, *restrict count = s->count;
                const A *restrict share = s->shares + l * n;
                const int32_t at = (int32_t)l;
#pragma omp simd
                for (int64_t p = 0; p < n; p++) {
                    const A part = share[p] * LOAD(in[from[p]]);
                    row[p] += at < count[p] ? part : 0;
                }
            }
            for (int corner = 0; corner < corners; corner++) {
                if ((corner & 2 && s->c->resize.axes < 3) || (corner & 1 && s->c->resize.axes < 2))
                    continue;
                const int64_t p0 = corner & 2 ? t[0].high[o0] : t[0].low[o0];
                const int64_t p1 = corner & 1 ? t[1].high[o1] : t[1].low[o1];
                const A share = (corner & 2 ? t[0].move[o0] : t[0].keep[o0]) *
                                (corner & 1 ? t[1].move[o1] : t[1].keep[o1]);
                A *restrict sum = plane + (p0 * a[1].length + p1) * n;
#pragma omp simd
                for (int64_t p = 0; p < n; p++) sum[p] += share * row[p];
            }
        }
#pragma omp simd
    for (int64_t p = 0; p < s->places; p++) dx[p] = STORE(plane[p]);
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const FN(Call) *c = s->c;
    const int64_t n = c->resize.axis[2].length;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, c->resize.planes);
    A *row = s->memory + chunk * (n + (s->back ? s->places : 0));
    for (int64_t at = bpx_first_row(chunk, s->chunks, c->resize.planes); at < last; at++) {
        if (s->back)
            FN(backward_plane)(s, c->in + at * s->outputs, c->out + at * s->places, row, row + n);
        else
            FN(forward_plane)(s, c->in + at * s->places, c->out + at * s->outputs, row);
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
    const int64_t memory = s.chunks * (n + (back ? s.places : 0));
    A *numbers = malloc((size_t)(memory + 2 * all) * sizeof(A));
    int32_t *indices = malloc((size_t)(2 * all + n) * sizeof(int32_t));
    int failed = numbers == NULL || indices == NULL;
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
    free(s.from), free(s.shares), free(numbers), free(indices);
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
