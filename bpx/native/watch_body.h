/* One element type (each_type.h). Included by watch.c. */

static void FN(watched)(const T *x, int64_t n, double *out, bpx_parallel_for parallel,
                        void *host) {
    const bpx_moments_sums found = FN(bpx_moments_of)(x, n, parallel, host);
    out[0] = (double)n;
    out[1] = found.sum / (double)n;
    out[2] = found.squares / (double)n;
    out[3] = found.bad;
}

/* Units with a value other than zero; NaN is one. `alive` keeps those of calls before. */
BPX_CLONES static void FN(alive_rows)(const T *restrict x, uint8_t *restrict alive, int64_t rows,
                                      int64_t units) {
    for (int64_t i = 0; i < rows; i++) {
        const T *restrict row = x + i * units;
        for (int64_t j = 0; j < units; j++) alive[j] |= LOAD(row[j]) != 0;
    }
}

static void FN(alive_places)(const T *x, uint8_t *alive, int64_t outer, int64_t units,
                             int64_t inner) {
    for (int64_t i = 0; i < outer * units; i++, x += inner) {
        uint8_t found = alive[i % units];
        for (int64_t k = 0; k < inner && !found; k++) found = LOAD(x[k]) != 0;
        alive[i % units] = found;
    }
}

typedef struct {
    const T *x;
    double *counts;
    int64_t elements, chunks;
    double middle, half;
} FN(Beyond);

BPX_CLONES static double FN(beyond_pass)(const FN(Beyond) *s, int64_t first, int64_t last) {
    const T *restrict x = s->x;
    const double middle = s->middle, half = s->half;
    double count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = first; i < last; i++) {
        const double apart = (double)LOAD(x[i]) - middle;
        count += (apart < 0 ? -apart : apart) > half ? 1.0 : 0.0;
    }
    return count;
}

static void FN(beyond_task)(void *state, int64_t chunk) {
    const FN(Beyond) *s = state;
    s->counts[chunk] = FN(beyond_pass)(s, bpx_first_row(chunk, s->chunks, s->elements),
                                       bpx_first_row(chunk + 1, s->chunks, s->elements));
}

/* Rows whose largest value is beyond `sure`; none with a NaN. */
static double FN(sure_rows)(const T *x, int64_t rows, int64_t width, double sure) {
    double count = 0;
    for (int64_t i = 0; i < rows; i++, x += width) {
        int beyond = 0, numbers = 1;
        for (int64_t j = 0; j < width; j++) {
            const double value = (double)LOAD(x[j]);
            beyond |= value > sure;
            numbers &= value == value;
        }
        count += beyond & numbers;
    }
    return count;
}

/* x: outer x units x inner, `alive` of units or NULL. Bounds: `half` from `middle`, 0 without; with
 * a width rows of a softmax, whose largest probability is held against `half`. out: WATCHED numbers,
 * and with bounds the share that is beyond them. */
typedef struct {
    const T *x;
    uint8_t *alive;
    double *out;
    int64_t elements, outer, units, inner, width;
    double middle, half;
} FN(WatchCall);

BPX_EXPORT int FN(bpx_watch)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(WatchCall) *c = call;
    FN(watched)(c->x, c->elements, c->out, parallel, host);
    if (c->alive != NULL && c->inner == 1) {
        FN(alive_rows)(c->x, c->alive, c->outer, c->units);
    } else if (c->alive != NULL) {
        FN(alive_places)(c->x, c->alive, c->outer, c->units, c->inner);
    }
    if (c->width > 0) {
        const int64_t rows = c->elements / c->width;
        c->out[WATCHED] = FN(sure_rows)(c->x, rows, c->width, c->half) / (double)rows;
    } else if (c->half > 0) {
        double counts[BPX_MAX_CHUNKS], count = 0;
        FN(Beyond) s = {c->x, counts, c->elements, bpx_chunks(c->elements, 1), c->middle, c->half};
        bpx_run(parallel, host, s.chunks, FN(beyond_task), &s);
        for (int64_t i = 0; i < s.chunks; i++) count += counts[i];
        c->out[WATCHED] = count / (double)c->elements;
    }
    return 0;
}

/* An array beside another of its size: copied to it, or their distance. */
typedef struct {
    const T *x;
    T *other;
    double *parts;
    int64_t elements, chunks;
} FN(Pair);

static void FN(copy_task)(void *state, int64_t chunk) {
    const FN(Pair) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->elements);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->elements);
    memcpy(s->other + first, s->x + first, (size_t)(last - first) * sizeof *s->x);
}

BPX_CLONES static double FN(squared_distance)(const T *restrict x, const T *restrict y, int64_t n) {
    const int64_t half = n / 2; /* two runs side by side */
    double squares = 0, more = 0;
#pragma omp simd reduction(+ : squares, more)
    for (int64_t i = 0; i < half; i++) {
        const double a = (double)LOAD(x[i]) - (double)LOAD(y[i]);
        const double b = (double)LOAD(x[half + i]) - (double)LOAD(y[half + i]);
        squares += a * a;
        more += b * b;
    }
    const double last = n % 2 ? (double)LOAD(x[n - 1]) - (double)LOAD(y[n - 1]) : 0;
    return squares + more + last * last;
}

static void FN(distance_task)(void *state, int64_t chunk) {
    const FN(Pair) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->elements);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->elements);
    s->parts[chunk] = FN(squared_distance)(s->x + first, s->other + first, last - first);
}

/* `table`: columns of `arrays` entries each: parameters, their gradients (NULL: none), where copies
 * of the parameters go (NULL: nowhere), elements. out: WATCHED numbers of each parameter, then of
 * each gradient. */
typedef struct {
    const int64_t *table;
    double *out;
    int64_t arrays;
} FN(WatchTable);

BPX_EXPORT int FN(bpx_watch_parameters)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(WatchTable) *c = call;
    const int64_t many = c->arrays;
    for (int64_t i = 0; i < many; i++) {
        const T *x = (const T *)c->table[i], *gradient = (const T *)c->table[many + i];
        FN(Pair) s = {.x = x, .other = (T *)c->table[2 * many + i]};
        s.elements = c->table[3 * many + i], s.chunks = bpx_chunks(s.elements, 1);
        FN(watched)(x, s.elements, c->out + WATCHED * i, parallel, host);
        if (s.other != NULL) bpx_run(parallel, host, s.chunks, FN(copy_task), &s);
        if (gradient != NULL) {
            FN(watched)(gradient, s.elements, c->out + WATCHED * (many + i), parallel, host);
        }
    }
    return 0;
}

/* `table`: columns of arrays, of others, of elements. out: the norm of each difference. */
BPX_EXPORT int FN(bpx_distances)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(WatchTable) *c = call;
    for (int64_t i = 0; i < c->arrays; i++) {
        double parts[BPX_MAX_CHUNKS], squares = 0;
        FN(Pair) s = {.x = (const T *)c->table[i], .other = (T *)c->table[c->arrays + i]};
        s.elements = c->table[2 * c->arrays + i], s.chunks = bpx_chunks(s.elements, 1);
        s.parts = parts;
        bpx_run(parallel, host, s.chunks, FN(distance_task), &s);
        for (int64_t k = 0; k < s.chunks; k++) squares += parts[k];
        c->out[i] = sqrt(squares);
    }
    return 0;
}
