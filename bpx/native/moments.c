/* Count, sum and squares of an array about its mean, for bpx.health. What they are:
 * bpx/health/measure.py. In double, which has room for the square of any float. */
#include <math.h>

#include "moments.h"

typedef struct {
    double sum, bad, squares;
} bpx_moments_part;

#define BODY "moments_body.h"
#include "each_type.h"
