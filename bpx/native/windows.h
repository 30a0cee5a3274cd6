/* Windows along three axes (the front ones of size 1 where there are fewer), for the pools.
 * A window begins at o stride - padding and has `size` positions `dilation` apart; or, where `size`
 * is 0, it is the adaptive one: floor(o S / O) <= p < ceil((o + 1) S / O). */
#ifndef BPX_WINDOWS_H
#define BPX_WINDOWS_H

#include "core.h"

typedef struct {
    int64_t length, outputs, size, stride, padding, dilation;
} bpx_axis;

typedef struct {
    int64_t planes; /* B x C */
    bpx_axis axis[3];
} bpx_windows;

static inline int64_t bpx_places(const bpx_windows *w) {
    return w->axis[0].length * w->axis[1].length * w->axis[2].length;
}

static inline int64_t bpx_outputs(const bpx_windows *w) {
    return w->axis[0].outputs * w->axis[1].outputs * w->axis[2].outputs;
}

static inline int64_t bpx_plane_chunks(const bpx_windows *w) {
    return bpx_chunks(w->planes, bpx_places(w) + bpx_outputs(w));
}

/* The first position of a window, perhaps before the elements. */
BPX_INLINE int64_t bpx_begin(const bpx_axis *a, int64_t o) {
    return a->size == 0 ? o * a->length / a->outputs : o * a->stride - a->padding;
}

/* Behind the last position of an adaptive window. */
BPX_INLINE int64_t bpx_end(const bpx_axis *a, int64_t o) {
    return ((o + 1) * a->length + a->outputs - 1) / a->outputs;
}

/* The outputs lo <= o < hi whose windows have position `i` within the elements. */
BPX_INLINE void bpx_inside(const bpx_axis *a, int64_t i, int64_t *lo, int64_t *hi) {
    const int64_t first = a->padding - i * a->dilation; /* o stride >= first */
    const int64_t last = a->length - 1 + first;         /* o stride <= last */
    *lo = first <= 0 ? 0 : (first + a->stride - 1) / a->stride;
    *hi = last < 0 ? 0 : last / a->stride + 1;
    if (*hi > a->outputs) *hi = a->outputs;
    if (*lo > *hi) *lo = *hi;
}

/* How many positions a window has, for its mean: with the padding, or within the elements alone. */
BPX_INLINE int64_t bpx_counted(const bpx_axis *a, int64_t o, int64_t with_padding) {
    const int64_t start = bpx_begin(a, o);
    if (a->size == 0) return bpx_end(a, o) - start;
    const int64_t high = a->length + (with_padding ? a->padding : 0), end = start + a->size;
    const int64_t low = with_padding || start > 0 ? start : 0;
    return (end < high ? end : high) - low;
}

#endif
