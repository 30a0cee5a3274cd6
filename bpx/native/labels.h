/* Class labels: read from int64, int32 or uint8, held against what they may be. */
#ifndef BPX_LABELS_H
#define BPX_LABELS_H

#include "core.h"

typedef struct {
    const void *at;
    int64_t bytes, classes; /* bytes: 8, 4 or 1 (unsigned) */
    int64_t ignores, ignored; /* whether rows with the label `ignored` count for nothing */
} bpx_labels;

enum { BPX_NONE, BPX_SUM_OF_ROWS, BPX_MEAN }; /* reductions, as callers number them */

BPX_INLINE int64_t bpx_label(const bpx_labels *labels, int64_t row) {
    if (labels->bytes == 8) return ((const int64_t *)labels->at)[row];
    if (labels->bytes == 4) return ((const int32_t *)labels->at)[row];
    return ((const uint8_t *)labels->at)[row];
}

BPX_INLINE int bpx_is_ignored(const bpx_labels *labels, int64_t label) {
    return labels->ignores && label == labels->ignored;
}

BPX_INLINE int bpx_is_class(const bpx_labels *labels, int64_t label) {
    return label >= 0 && label < labels->classes;
}

#endif
