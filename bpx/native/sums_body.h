/* One element type (each_type.h). Included by the bodies of bpx_jax's health, after moments.h. The
 * sums of an array: calls, count, bad, total, upper, lower, between_upper, between_lower, saturated,
 * the last left at 0. What they are: bpx_jax/_health_measure.py. */

static void FN(sums)(const T *x, int64_t elements, double up, double down, float *out,
                     bpx_parallel_for parallel, void *host) {
    const bpx_moments_sums found = FN(bpx_moments_of)(x, elements, parallel, host);
    const double n = (double)elements, mean = elements > 0 ? found.sum / n : 0.0;
    const double between = n * mean * mean;
    out[0] = 1;
    out[1] = (float)elements;
    out[2] = (float)found.bad;
    out[3] = (float)found.sum;
    out[4] = (float)(found.squares * up);
    out[5] = (float)(found.squares * down);
    out[6] = (float)(between * up);
    out[7] = (float)(between * down);
    out[8] = 0;
}
