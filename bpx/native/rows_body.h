/* What the kernels of a row's exponentials share, for one element type. Included by their bodies.
 *
 * Sums are taken in blocks of BPX_SUM_BLOCK elements, in vector lanes within a block: their error grows
 * with the number of blocks and with a lane's share of one, not with the length of the row. */
#ifndef BPX_SUM
#define BPX_SUM_BLOCK 1024
#define BPX_SUM(total, i, n, term)                                                             \
    for (int64_t start_ = 0; start_ < (n); start_ += BPX_SUM_BLOCK) {                          \
        const int64_t end_ = start_ + BPX_SUM_BLOCK < (n) ? start_ + BPX_SUM_BLOCK : (n);      \
        A part_ = 0;                                                                           \
        _Pragma("omp simd reduction(+ : part_)")                                               \
        for (int64_t i = start_; i < end_; i++) part_ += (term);                               \
        (total) += part_;                                                                      \
    }
#endif

/* The largest element. A NaN is passed over: it comes back out of every sum. */
BPX_INLINE A FN(row_top)(const T *restrict x, int64_t n) {
    A top = -(A)INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) top = LOAD(x[i]) > top ? LOAD(x[i]) : top;
    return top;
}

/* log(sum(e^x)). NaN for a row of -inf alone: it has no distribution. */
BPX_INLINE A FN(row_lse)(const T *restrict x, int64_t n) {
    const A top = FN(row_top)(x, n);
    A mass = 0;
    BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(x[i]) - top))
    return top + MATH(bpx_log)(mass);
}

/* The sum of e^(x - lse), near 1: it differs by the rounding of lse, |lse| eps. The exponentials are
 * left in `out` where it can hold them without rounding them; row_exp finds them. */
BPX_INLINE A FN(row_mass)(const T *restrict x, T *restrict out, int64_t n, A lse) {
    A mass = 0;
    if (sizeof(T) == sizeof(A)) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = STORE(MATH(bpx_exp)(LOAD(x[i]) - lse));
        BPX_SUM(mass, i, n, LOAD(out[i]))
    } else {
        BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(x[i]) - lse))
    }
    return mass;
}

/* `seen`: what short_masses made of the row, or NULL. */
BPX_INLINE A FN(row_exp)(const T *restrict x, const T *restrict out, const A *seen, int64_t i,
                         A lse) {
    if (seen != NULL) return seen[i];
    return sizeof(T) == sizeof(A) ? LOAD(out[i]) : MATH(bpx_exp)(LOAD(x[i]) - lse);
}
