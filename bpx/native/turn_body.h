/* Short rows, turned, for one element type. Included by bodies, after turn.h. */

#ifdef BPX_SHUFFLES
typedef T FN(four) __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));

/* 4 x 4 elements: `to` holds at [j][i] what `from` holds at [i][j]. */
BPX_INLINE void FN(turn_four)(const T *from, int64_t from_step, T *to, int64_t to_step) {
    const FN(four) a = *(const FN(four) *)from, b = *(const FN(four) *)(from + from_step);
    const FN(four) c = *(const FN(four) *)(from + 2 * from_step);
    const FN(four) d = *(const FN(four) *)(from + 3 * from_step);
    const FN(four) ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const FN(four) cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const FN(four) ab_after = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const FN(four) cd_after = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(FN(four) *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(FN(four) *)(to + to_step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(FN(four) *)(to + 2 * to_step) = __builtin_shufflevector(ab_after, cd_after, 0, 1, 4, 5);
    *(FN(four) *)(to + 3 * to_step) = __builtin_shufflevector(ab_after, cd_after, 2, 3, 6, 7);
}
#endif

/* to[j][i] = from[i][j] for `height` x `width` elements; a step leads to the next i, or j. */
BPX_INLINE void FN(turn_block)(const T *restrict from, int64_t from_step, int64_t height,
                               int64_t width, T *restrict to, int64_t to_step) {
    int64_t i = 0;
#ifdef BPX_SHUFFLES
    for (; i + 4 <= height; i += 4) {
        int64_t j = 0;
        for (; j + 4 <= width; j += 4)
            FN(turn_four)(from + i * from_step + j, from_step, to + j * to_step + i, to_step);
        for (; j < width; j++)
            for (int64_t k = i; k < i + 4; k++) to[j * to_step + k] = from[k * from_step + j];
    }
#endif
    for (; i < height; i++)
        for (int64_t j = 0; j < width; j++) to[j * to_step + i] = from[i * from_step + j];
}

/* rows x n elements, row by row, as n x BPX_LANES: a vector holds the same column of as many rows. Lanes
 * without a row are zeros. */
BPX_INLINE void FN(turn)(const T *restrict x, T *restrict turned, int64_t n, int64_t rows) {
    FN(turn_block)(x, n, rows, n, turned, BPX_LANES);
    for (int64_t i = 0; rows < BPX_LANES && i < n; i++)
        for (int64_t row = rows; row < BPX_LANES; row++) turned[i * BPX_LANES + row] = 0;
}

BPX_INLINE void FN(turn_back)(const T *restrict turned, T *restrict y, int64_t n, int64_t rows) {
    FN(turn_block)(turned, BPX_LANES, n, rows, y, n);
}
