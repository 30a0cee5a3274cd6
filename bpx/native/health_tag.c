/* What a tag of bpx_jax.health counts of an array in one call: its sums, what is saturated, and which
 * units are alive. */
#include <math.h>

#include "moments.h"

enum { SUMS = 9, NO_BOUNDS = 0, BOUNDED_VALUES = 1, BOUNDED_ROWS = 2 };

#define BODY "health_tag_body.h"
#include "each_type.h"
