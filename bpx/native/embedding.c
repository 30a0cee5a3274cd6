/* Rows of a table picked by integers, forward and backward. Maths, shapes and source:
 * bpx/layers/embedding.py.
 *
 * Backward: a task owns a chunk of the table's rows. The picks are sorted by chunk first, each chunk's
 * in their order, so that a row's gradients are added in that order. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

/* An index of four or eight bytes. */
BPX_INLINE int64_t bpx_index(const void *indices, int64_t bytes, int64_t at) {
    if (bytes == 4) return ((const int32_t *)indices)[at];
    return ((const int64_t *)indices)[at];
}

#define BODY "embedding_body.h"
#include "each_type.h"
