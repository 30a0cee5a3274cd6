/* One element type (each_type.h). Included by product.c. */

enum { FN(LANES) = 64 / sizeof(A) };

#if defined(__GNUC__)
typedef A FN(vector) __attribute__((vector_size(64), aligned(sizeof(A)), may_alias));

/* `vectors` of the panel for `rows` rows, both known when this is compiled into its caller. */
BPX_INLINE void FN(tile)(const int rows, const int vectors, int64_t depth, const A *left,
                         int64_t row_step, int64_t depth_step, const A *packed, A *out,
                         int64_t out_step) {
    FN(vector) sum[8][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = *(const FN(vector) *)(out + r * out_step + v * FN(LANES));
    for (int64_t k = 0; k < depth; k++) {
        FN(vector) right[2];
        for (int v = 0; v < vectors; v++)
            right[v] = *(const FN(vector) *)(packed + (2 * k + v) * FN(LANES));
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[r][v] += left[r * row_step + k * depth_step] * right[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            *(FN(vector) *)(out + r * out_step + v * FN(LANES)) = sum[r][v];
}
#else
BPX_INLINE void FN(tile)(const int rows, const int vectors, int64_t depth, const A *left,
                         int64_t row_step, int64_t depth_step, const A *packed, A *out,
                         int64_t out_step) {
    for (int r = 0; r < rows; r++)
        for (int64_t k = 0; k < depth; k++)
            for (int i = 0; i < vectors * FN(LANES); i++)
                out[r * out_step + i] +=
                    left[r * row_step + k * depth_step] * packed[2 * k * FN(LANES) + i];
}
#endif

#define TILE(rows, vectors)                                                                        \
    for (; r + rows <= count; r += rows)                                                           \
    FN(tile)(rows, vectors, depth, left + r * row_step, row_step, depth_step, right,               \
             to + r * out_step, out_step)

BPX_CLONES void FN(bpx_product_part)(int64_t count, int64_t columns, int64_t depth, const A *left,
                                     int64_t row_step, int64_t depth_step, const A *packed,
                                     int64_t packed_depth, A *out, int64_t out_step) {
    const int many = bpx_many_registers();
    for (int64_t column = 0; column < columns; column += 2 * FN(LANES)) {
        const A *right = packed + column * packed_depth;
        A *to = out + column;
        if (columns - column <= FN(LANES)) { /* the panel's second vector is empty */
            int64_t r = 0;
            if (many) TILE(8, 1);
            TILE(4, 1);
            TILE(2, 1);
            TILE(1, 1);
        } else if (many) {
            int64_t r = 0;
            TILE(8, 2);
            TILE(4, 2);
            TILE(2, 2);
            TILE(1, 2);
        } else {
            for (int half = 0; half < 2; half++, right += FN(LANES), to += FN(LANES)) {
                int64_t r = 0;
                TILE(4, 1);
                TILE(2, 1);
                TILE(1, 1);
            }
        }
    }
}

#undef TILE

BPX_CLONES void FN(bpx_pack)(int64_t columns, int64_t depth, const A *source, int64_t column_step,
                             int64_t depth_step, A *packed) {
    const int64_t panel = 2 * FN(LANES);
    for (int64_t column = 0; column < columns; column += panel) {
        const int64_t left = columns - column, width = left < panel ? left : panel;
        for (int64_t k = 0; k < depth; k++) {
            A *restrict to = packed + column * depth + k * panel;
            const A *restrict from = source + column * column_step + k * depth_step;
            for (int64_t j = 0; j < width; j++) to[j] = from[j * column_step];
            for (int64_t j = width; j < panel; j++) to[j] = 0;
        }
    }
}
