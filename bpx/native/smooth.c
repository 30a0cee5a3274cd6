/* Smooth activations. Maths and sources: bpx/activations/{smooth,exponential,sparse,shrinkage}.py. */
#include <float.h>
#include <math.h>

#include "elementwise.h"

#define BODY "smooth_body.h"
#include "each_type.h"
