/* ctc_loss, forward and backward. Maths, shapes and source: bpx/losses/ctc.py.
 *
 * A task owns some items of the batch and walks through their frames; one item's places are a vector.
 * All of it is in log-probabilities, as the residual is. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "vector_math.h"

enum { BPX_CTC_NONE, BPX_CTC_MEAN, BPX_CTC_SUM };

#define EXP(x) (sizeof(A) == 8 ? (A)bpx_exp_f64((double)(x)) : (A)bpx_exp_f32((float)(x)))
#define LOG(x) (sizeof(A) == 8 ? (A)bpx_log_f64((double)(x)) : (A)bpx_log_f32((float)(x)))

/* Element i of an array of integers of four or eight bytes. */
BPX_INLINE int64_t bpx_ctc_integer(const void *array, int64_t bytes, int64_t i) {
    return bytes == 8 ? ((const int64_t *)array)[i] : ((const int32_t *)array)[i];
}

#define BODY "ctc_body.h"
#include "each_type.h"
