/* Which elements each output of a resized axis looks at. Maths and sources:
 * bpx/layers/upsample_nearest.py, upsample_linear.py. */
#ifndef BPX_UPSAMPLE_H
#define BPX_UPSAMPLE_H

#include <math.h>

#include "core.h"

typedef struct {
    int64_t length, outputs;
} bpx_resized;

typedef struct {
    int64_t planes, axes; /* the last `axes` of three are there, the others of size 1 */
    bpx_resized axis[3];
    int64_t flag;         /* nearest: exact; linear: align_corners */
    double scale[3];      /* 0: the size was given */
} bpx_resize;

static inline int64_t bpx_at_most(int64_t a, int64_t b) { return a < b ? a : b; }

/* The element that output i copies. The place is computed in float, or in double for doubles, and
 * then rounded to float: this decides where it is within rounding of an integer. */
static inline int32_t bpx_nearest(const bpx_resized *a, double scale, int64_t exact, int wide,
                                  int64_t i) {
    double step = scale == 0 ? (double)a->length / (double)a->outputs : 1 / scale;
    if (!wide) step = scale == 0 ? (double)((float)a->length / (float)a->outputs) : (float)step;
    float place;
    if (exact) {
        /* volatile: the product is rounded before the difference is taken */
        volatile double product = step * ((double)i + 0.5);
        double middle = product - 0.5;
        if (!wide) middle = (float)middle;
        place = (float)((middle > 0 ? middle : 0) + 0.5);
    } else {
        place = wide ? (float)((double)i * step) : (float)i * (float)step;
    }
    return (int32_t)bpx_at_most((int64_t)floorf(place), a->length - 1);
}

/* Output i is (1 - t) x[low] + t x[min(low + 1, length - 1)]. */
static inline int32_t bpx_linear(const bpx_resized *a, double scale, int64_t align_corners,
                                 int64_t i, double *t) {
    double place;
    if (align_corners) {
        const double step =
            a->outputs > 1 ? (double)(a->length - 1) / (double)(a->outputs - 1) : 0;
        place = (double)i * step;
    } else {
        const double step =
            scale == 0 ? (double)a->length / (double)a->outputs : 1 / scale;
        volatile double product = ((double)i + 0.5) * step;
        place = product - 0.5;
        if (place < 0) place = 0;
    }
    const int64_t low = bpx_at_most((int64_t)floor(place), a->length - 1);
    const double past = place - (double)low;
    *t = past > 1 ? 1 : past;
    return (int32_t)low;
}

#endif
