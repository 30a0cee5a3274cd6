/* The gradient of a convolution's weight: the wide array matched with the narrow one, window by window.
 * Maths and shapes: bpx/layers/conv.py, conv_transpose.py.
 *
 *     out[g O + o, k, tap] = sum over rows b and places t of
 *                            narrow[b, g O + o, t] wide[b, g K + k, t stride + tap dilation - low]
 *
 * and, where asked for, the sum of narrow over rows and places.
 *
 * A product of two matrices of which one, the windows of `wide`, is never written out: the rows of a
 * tile are pairs (k, tap), each a pointer into the lines of `wide` that the places of a few lines of
 * `narrow` need, copied with their zeros; its columns are channels of `narrow`, packed in panels. */
#include <stdlib.h>

#include "core.h"

enum { AXES = 3, ROWS = 8, TURNED = 32, /* rows of the result at a time */
       PLACES = 192 /* of a block: their panel stays in the first-level cache */ };

typedef struct {
    int64_t batch, groups, ins, outs; /* ins, outs: of one group */
    int64_t wide[AXES], narrow[AXES], window[AXES], stride[AXES], low[AXES], dilation[AXES];
} bpx_conv_sizes;

static inline int64_t bpx_volume(const int64_t *sizes) { return sizes[0] * sizes[1] * sizes[2]; }

/* Elements from the first to behind the last that `count` windows along an axis reach. */
static inline int64_t bpx_reach(const bpx_conv_sizes *s, int axis, int64_t count) {
    return (count - 1) * s->stride[axis] + (s->window[axis] - 1) * s->dilation[axis] + 1;
}

/* Pairs of channels in a group below which a tile would be mostly empty: depthwise convolutions. */
enum { FEW = 8 };

/* The first and behind the last k < count with 0 <= k stride + offset < size. */
static inline void bpx_inside(int64_t offset, int64_t stride, int64_t size, int64_t count,
                              int64_t *first, int64_t *last) {
    const int64_t end = size - offset <= 0 ? 0 : (size - offset + stride - 1) / stride;
    *first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    *last = end < count ? end : count;
}

/* A step of a loop that stays a loop: no compiler makes a call of memset or memcpy of it. */
#if defined(__GNUC__)
#define BPX_ALONE(step)                  \
    do {                                 \
        step;                            \
        __asm__ volatile("" ::: "memory"); \
    } while (0)
#else
#define BPX_ALONE(step) step
#endif

#define BODY "conv_pack_body.h"
#include "each_type.h"

#define BODY "conv_weight_body.h"
#include "each_type.h"

/* with the calls of the body above, one sum of products for each pair of channels and tap */
#define BODY "conv_dots_body.h"
#include "each_type.h"
