/* Hinge loss of scores with class labels, forward and backward. Maths, shapes and source:
 * bpx/losses/multi_margin.py. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "vector_math.h"

#define BODY "multi_margin_body.h"
#include "each_type.h"
