/* What the recurrent layers' kernels share. A task owns BPX_RECURRENT_ROWS sequences of the batch and
 * walks through all their steps, so that no step waits for another thread; the weights are packed once
 * per call. The input's products, which need no walk, are the caller's or made on the way; one product
 * for each weight's gradient is the caller's. */
#ifndef BPX_RECURRENT_H
#define BPX_RECURRENT_H

#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "product.h"
#include "vector_math.h"

/* Rows of the product's largest tile. */
enum { BPX_RECURRENT_ROWS = 8 };

/* Steps of which the input's products are made at once. */
enum { BPX_RECURRENT_AHEAD = 8 };

/* Of a product's depth at once: a panel of it fits a first-level cache. */
enum { BPX_RECURRENT_DEPTH = 256 };

/* Below so many multiplications another thread costs more than it takes over. */
enum { BPX_RECURRENT_SERIAL = 1 << 18 };

/* Multiplications that take as long as an element of a gate does. */
enum { BPX_RECURRENT_GATE = 16 };

#define SIGMOID(x)                                                                                 \
    (sizeof(A) == 8 ? (A)bpx_sigmoid_f64((double)(x)) : (A)bpx_sigmoid_f32((float)(x)))
#define TANH(x) (sizeof(A) == 8 ? (A)bpx_tanh_f64((double)(x)) : (A)bpx_tanh_f32((float)(x)))

#endif
