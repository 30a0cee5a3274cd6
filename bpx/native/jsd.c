/* Jensen-Shannon divergence of log-probabilities, forward and backward. Maths, shapes and source:
 * bpx/losses/jsd.py. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "vector_math.h"

#define BODY "jsd_body.h"
#include "each_type.h"
