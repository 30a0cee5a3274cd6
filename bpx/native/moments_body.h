/* One element type (each_type.h). Included by moments.c. What is not finite is counted, and zero
 * takes its place. */

typedef struct {
    const T *x;
    bpx_moments_part *parts;
    int64_t elements, chunks;
    double about; /* one of the values: squares about it lose no digits to those about the mean */
} FN(Moments);

BPX_CLONES static void FN(moments_pass)(const FN(Moments) *s, int64_t first, int64_t last,
                                        bpx_moments_part *part) {
    const T *restrict values = s->x;
    const double about = s->about;
    double sum = 0, bad = 0, squares = 0;
#pragma omp simd reduction(+ : sum, bad, squares)
    for (int64_t i = first; i < last; i++) {
        const A x = LOAD(values[i]), zero = x - x; /* NaN where x is not finite */
        const A kept = zero == 0 ? x : 0;
        const double apart = (double)kept - about;
        sum += apart;
        squares += apart * apart;
        bad += (double)(zero == 0 ? (A)0 : (A)1);
    }
    *part = (bpx_moments_part){.sum = sum, .bad = bad, .squares = squares};
}

static void FN(moments_task)(void *state, int64_t chunk) {
    const FN(Moments) *s = state;
    FN(moments_pass)(s, bpx_first_row(chunk, s->chunks, s->elements),
                     bpx_first_row(chunk + 1, s->chunks, s->elements), s->parts + chunk);
}

/* out: how many are not finite, the sum, and the sum of squares about the mean and of the squared
 * mean over all elements, each of the two times `up` and times `down`. */
typedef struct {
    const T *x;
    float *out;
    int64_t elements;
    double up, down;
} FN(MomentsCall);

BPX_EXPORT int FN(bpx_moments)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(MomentsCall) *c = call;
    bpx_moments_part parts[BPX_MAX_CHUNKS];
    const double value = c->elements > 0 ? (double)LOAD(c->x[0]) : 0.0;
    FN(Moments) s = {.x = c->x, .parts = parts, .elements = c->elements};
    s.about = value - value == 0 ? value : 0.0;
    s.chunks = bpx_chunks(c->elements, 1);
    bpx_run(parallel, host, s.chunks, FN(moments_task), &s);
    double apart = 0, bad = 0, squares = 0;
    for (int64_t i = 0; i < s.chunks; i++) {
        apart += parts[i].sum;
        bad += parts[i].bad;
        squares += parts[i].squares;
    }
    const double n = (double)c->elements, sum = n * s.about + apart;
    const double mean = c->elements > 0 ? sum / n : 0.0;
    squares -= c->elements > 0 ? apart * (apart / n) : 0.0;
    squares = squares > 0 ? squares : 0.0;
    const double between = n * mean * mean;
    c->out[0] = (float)bad;
    c->out[1] = (float)sum;
    c->out[2] = (float)(squares * c->up);
    c->out[3] = (float)(squares * c->down);
    c->out[4] = (float)(between * c->up);
    c->out[5] = (float)(between * c->down);
    return 0;
}

/* Of many arrays, one after another. `table`: columns of `arrays` entries each: arrays, what is
 * subtracted from them (NULL: nothing), elements. out: six numbers for each as above, or the norm of
 * the difference alone. */
typedef struct {
    const int64_t *table;
    float *out;
    int64_t arrays;
    double up, down;
} FN(MomentsEach);

BPX_CLONES static double FN(squared_distance)(const T *restrict x, const T *restrict y, int64_t n) {
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) {
        const double apart = (double)LOAD(x[i]) - (double)LOAD(y[i]);
        squares += apart * apart;
    }
    return squares;
}

BPX_EXPORT int FN(bpx_moments_each)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(MomentsEach) *c = call;
    for (int64_t i = 0; i < c->arrays; i++) {
        const T *x = (const T *)c->table[i], *y = (const T *)c->table[c->arrays + i];
        const int64_t n = c->table[2 * c->arrays + i];
        float *out = c->out + 6 * i;
        if (y != NULL) {
            *out = (float)sqrt(FN(squared_distance)(x, y, n));
            continue;
        }
        const FN(MomentsCall) one = {x, out, n, c->up, c->down};
        if (FN(bpx_moments)(&one, parallel, host) != 0) return 1;
    }
    return 0;
}

/* Which columns of rows have a value other than zero; NaN is one. */
typedef struct {
    const T *x;
    uint8_t *out;
    int64_t rows, columns;
} FN(AliveCall);

BPX_CLONES static void FN(alive_rows)(const T *restrict x, uint8_t *restrict out, int64_t rows,
                                      int64_t columns) {
    for (int64_t j = 0; j < columns; j++) out[j] = 0;
    for (int64_t i = 0; i < rows; i++) {
        const T *restrict row = x + i * columns;
        for (int64_t j = 0; j < columns; j++) out[j] |= LOAD(row[j]) != 0;
    }
}

BPX_EXPORT int FN(bpx_alive)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(AliveCall) *c = call;
    (void)parallel, (void)host;
    FN(alive_rows)(c->x, c->out, c->rows, c->columns);
    return 0;
}
