/* What bpx_torch.health looks at in a sampled step: one output or gradient in one call, and all
 * parameters of a type in one. Numbers are given as double, which has room for the square of any
 * float. What they are: bpx/health/measure.py. */
#include <math.h>

#include "moments.h"

/* elements, mean, variance, how many are not finite */
enum { WATCHED = 4 };

#define BODY "watch_body.h"
#include "each_type.h"
