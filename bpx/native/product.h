/* Small matrix products inside a kernel, for which a call to a BLAS would cost more than the product.
 *
 *     out[r, j] += sum over k of left[r * row_step + k * depth_step] * right[k, j]
 *
 * right is packed once: in panels of BPX_PANEL bytes of columns, filled up with zeros, so that the
 * inner loop reads it from end to end. out has whole panels too. A part of the depth: packed_depth is
 * what was packed, and packed begins at the first k of the part, k panels' rows behind. */
#ifndef BPX_PRODUCT_H
#define BPX_PRODUCT_H

#include <stdint.h>

enum { BPX_PANEL = 128 };

/* Columns with those that fill up the last panel. */
static inline int64_t bpx_padded(int64_t columns, int64_t bytes) {
    const int64_t panel = BPX_PANEL / bytes;
    return (columns + panel - 1) / panel * panel;
}

#define BPX_DECLARE_PRODUCT(NAME, A)                                                               \
    /* packed holds bpx_padded(columns) * depth; right[k, j] = source[j * column_step + k * depth_step] */ \
    void bpx_pack_##NAME(int64_t columns, int64_t depth, const A *source, int64_t column_step,     \
                         int64_t depth_step, A *packed);                                           \
    void bpx_product_part_##NAME(int64_t rows, int64_t columns, int64_t depth, const A *left,      \
                                 int64_t row_step, int64_t depth_step, const A *packed,            \
                                 int64_t packed_depth, A *out, int64_t out_step);                  \
    static inline void bpx_product_##NAME(int64_t rows, int64_t columns, int64_t depth,            \
                                          const A *left, int64_t row_step, int64_t depth_step,     \
                                          const A *packed, A *out, int64_t out_step) {             \
        bpx_product_part_##NAME(rows, columns, depth, left, row_step, depth_step, packed, depth,   \
                                out, out_step);                                                    \
    }

BPX_DECLARE_PRODUCT(f32, float)
BPX_DECLARE_PRODUCT(f64, double)
BPX_DECLARE_PRODUCT(bf16, float)

#endif
