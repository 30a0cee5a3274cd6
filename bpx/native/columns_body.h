/* Moments of channels whose `places` elements lie side by side in each of many rows, for one element
 * type: vectors go across the channels, whose own stretches may be shorter than one. Four rows at a time
 * are added to what a column has: its sums are read and written once for them. */

/* The moments of `channels` channels over rows that lie `stride` apart. A block of rows that stays in cache
 * gives each channel's mean and then its squares. `sums` has room for 3 numbers a column. */
BPX_INLINE void FN(column_moments)(bpx_moments *restrict m, A *restrict sums,
                                   const T *restrict from, int64_t rows, int64_t channels,
                                   int64_t places, int64_t stride) {
    const int64_t n = channels * places;
    A *restrict mean = sums, *restrict distances = sums + n, *restrict squares = distances + n;
    memset(m, 0, (size_t)channels * sizeof *m);
    for (int64_t at = 0; at < rows; at += BPX_BLOCK_ROWS) {
        const int64_t end = bpx_least(rows, at + BPX_BLOCK_ROWS);
        const A count = (A)((end - at) * places);
        memset(sums, 0, (size_t)(3 * n) * sizeof(A));
        int64_t row = at;
        for (; row + 4 <= end; row += 4) {
            const T *restrict x = from + row * stride, *restrict x1 = x + stride;
            const T *restrict x2 = x1 + stride, *restrict x3 = x2 + stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                mean[i] += (LOAD(x[i]) + LOAD(x1[i])) + (LOAD(x2[i]) + LOAD(x3[i]));
        }
        for (; row < end; row++) {
            const T *restrict x = from + row * stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) mean[i] += LOAD(x[i]);
        }
        for (int64_t channel = 0; channel < channels; channel++) {
            A *restrict own = mean + channel * places, sum = 0;
            for (int64_t i = 0; i < places; i++) sum += own[i];
            for (int64_t i = 0; i < places; i++) own[i] = sum / count;
        }
        for (row = at; row + 4 <= end; row += 4) {
            const T *restrict x = from + row * stride, *restrict x1 = x + stride;
            const T *restrict x2 = x1 + stride, *restrict x3 = x2 + stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const A a = LOAD(x[i]) - mean[i], b = LOAD(x1[i]) - mean[i];
                const A c = LOAD(x2[i]) - mean[i], d = LOAD(x3[i]) - mean[i];
                distances[i] += (a + b) + (c + d);
                squares[i] += (a * a + b * b) + (c * c + d * d);
            }
        }
        for (; row < end; row++) {
            const T *restrict x = from + row * stride;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const A centred = LOAD(x[i]) - mean[i];
                distances[i] += centred;
                squares[i] += centred * centred;
            }
        }
        for (int64_t channel = 0; channel < channels; channel++) {
            const int64_t first = channel * places;
            A away = 0, square = 0;
            for (int64_t i = first; i < first + places; i++)
                away += distances[i], square += squares[i];
            bpx_merge(&m[channel], count, count * mean[first], mean[first], away, square);
        }
    }
}
