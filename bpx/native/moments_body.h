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

/* The same where all values are finite; where one is not, or a double has no room, neither is the sum
 * of squares. Four runs side by side, so that no addition waits for the one before it. */
BPX_CLONES static void FN(moments_finite)(const FN(Moments) *s, int64_t first, int64_t last,
                                          bpx_moments_part *part) {
    const int64_t run = (last - first) / 4;
    const T *restrict w = s->x + first, *restrict x = w + run, *restrict y = x + run;
    const T *restrict z = y + run;
    const double about = s->about;
    double sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0, of0 = 0, of1 = 0, of2 = 0, of3 = 0;
#pragma omp simd reduction(+ : sum0, sum1, sum2, sum3, of0, of1, of2, of3)
    for (int64_t i = 0; i < run; i++) {
        const double a = (double)LOAD(w[i]) - about, b = (double)LOAD(x[i]) - about;
        const double c = (double)LOAD(y[i]) - about, d = (double)LOAD(z[i]) - about;
        sum0 += a, sum1 += b, sum2 += c, sum3 += d;
        of0 += a * a, of1 += b * b, of2 += c * c, of3 += d * d;
    }
    double sum = (sum0 + sum1) + (sum2 + sum3), squares = (of0 + of1) + (of2 + of3);
    for (int64_t i = first + 4 * run; i < last; i++) {
        const double apart = (double)LOAD(s->x[i]) - about;
        sum += apart;
        squares += apart * apart;
    }
    *part = (bpx_moments_part){.sum = sum, .bad = 0, .squares = squares};
}

static void FN(moments_task)(void *state, int64_t chunk) {
    const FN(Moments) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->elements);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->elements);
    bpx_moments_part *part = s->parts + chunk;
    FN(moments_finite)(s, first, last, part);
    if (part->squares - part->squares != 0) FN(moments_pass)(s, first, last, part);
}

bpx_moments_sums FN(bpx_moments_of)(const T *x, int64_t elements, bpx_parallel_for parallel,
                                    void *host) {
    bpx_moments_part parts[BPX_MAX_CHUNKS];
    const double value = elements > 0 ? (double)LOAD(x[0]) : 0.0;
    FN(Moments) s = {.x = x, .parts = parts, .elements = elements};
    s.about = value - value == 0 ? value : 0.0;
    s.chunks = bpx_chunks(elements, 1);
    bpx_run(parallel, host, s.chunks, FN(moments_task), &s);
    double apart = 0, bad = 0, squares = 0;
    for (int64_t i = 0; i < s.chunks; i++) {
        apart += parts[i].sum;
        bad += parts[i].bad;
        squares += parts[i].squares;
    }
    const double n = (double)elements;
    squares -= elements > 0 ? apart * (apart / n) : 0.0;
    if (squares != squares) squares = INFINITY; /* beyond a double */
    return (bpx_moments_sums){bad, n * s.about + apart, squares > 0 ? squares : 0.0};
}
