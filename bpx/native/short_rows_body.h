/* The exponentials of up to BPX_LANES rows at once, for one element type. Included by bodies that have
 * rows_body.h. */
#include "turn_body.h"

/* log(sum(e^x)) of each row. */
BPX_INLINE void FN(rows_lse)(const T *x, int64_t n, int64_t rows, A *restrict lse) {
    if (!bpx_short(n)) {
        for (int64_t row = 0; row < rows; row++) lse[row] = FN(row_lse)(x + row * n, n);
        return;
    }
    T turned[BPX_SHORT * BPX_LANES];
    A top[BPX_LANES], mass[BPX_LANES];
    FN(turn)(x, turned, n, rows);
    for (int64_t j = 0; j < BPX_LANES; j++) top[j] = -(A)INFINITY, mass[j] = 0;
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int64_t j = 0; j < BPX_LANES; j++) {
            const A v = LOAD(turned[i * BPX_LANES + j]);
            top[j] = v > top[j] ? v : top[j];
        }
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int64_t j = 0; j < BPX_LANES; j++)
            mass[j] += MATH(bpx_exp)(LOAD(turned[i * BPX_LANES + j]) - top[j]);
#pragma omp simd
    for (int64_t j = 0; j < BPX_LANES; j++) top[j] += MATH(bpx_log)(mass[j]);
    for (int64_t row = 0; row < rows; row++) lse[row] = top[row];
}

/* e^(x - lse) of short rows, row by row, and the sum of each: row_mass of all. */
BPX_INLINE void FN(short_masses)(const T *x, int64_t n, int64_t rows, const A *restrict lse,
                                 A *restrict e, A *restrict mass) {
    T turned[BPX_SHORT * BPX_LANES];
    A lanes[BPX_SHORT * BPX_LANES], own[BPX_LANES];
    FN(turn)(x, turned, n, rows);
    for (int64_t j = 0; j < BPX_LANES; j++) own[j] = j < rows ? lse[j] : 0, mass[j] = 0;
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int64_t j = 0; j < BPX_LANES; j++) {
            const A v = MATH(bpx_exp)(LOAD(turned[i * BPX_LANES + j]) - own[j]);
            lanes[i * BPX_LANES + j] = v;
            mass[j] += v;
        }
    MATH(turn_back)(lanes, e, n, rows);
}
