/* Sums over the values of an array that are finite, in double (moments.c). */
#ifndef BPX_MOMENTS_H
#define BPX_MOMENTS_H

#include "core.h"

typedef struct {
    double bad, sum, squares; /* how many are not finite; squares about the mean */
} bpx_moments_sums;

bpx_moments_sums bpx_moments_of_f32(const float *x, int64_t elements, bpx_parallel_for parallel,
                                    void *host);
bpx_moments_sums bpx_moments_of_f64(const double *x, int64_t elements, bpx_parallel_for parallel,
                                    void *host);
bpx_moments_sums bpx_moments_of_bf16(const uint16_t *x, int64_t elements,
                                     bpx_parallel_for parallel, void *host);

#endif
