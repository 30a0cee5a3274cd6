/* Cross-entropy of logits with class labels, forward and backward. Maths, shapes and source:
 * bpx/losses/cross_entropy.py.
 *
 * The forward reads each row from memory once: maximum, sum of exponentials and smoothed part find it in
 * cache. The backward reads it once more and writes the gradient. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "turn.h"
#include "vector_math.h"

#define BODY "cross_entropy_body.h"
#include "each_type.h"
