/* Group, instance and batch normalisation of x (B C S), backward. Maths, shapes and source:
 * bpx/layers/group_norm.py, instance_norm.py, batch_norm.py. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "standardize.h"

#define BODY "standardize_backward_body.h"
#include "each_type.h"
