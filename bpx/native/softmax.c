/* Softmax and its logarithm over one axis, forward and backward. Maths, shapes and source:
 * bpx/layers/softmax.py, bpx/layers/log_softmax.py.
 *
 * x is (outer, axis, inner). With inner = 1 a task owns rows, which stay in cache between their passes;
 * otherwise columns, BPX_LANES of them at a time, beside each other in memory. */
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "stream.h"
#include "turn.h"
#include "vector_math.h"

#define BODY "softmax_body.h"
#include "each_type.h"
