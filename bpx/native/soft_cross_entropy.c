/* Cross-entropy of logits with probabilities, forward and backward. Maths, shapes and source:
 * bpx/losses/soft_cross_entropy.py. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "turn.h"
#include "vector_math.h"

#define BODY "soft_cross_entropy_body.h"
#include "each_type.h"
