/* Group, instance and batch normalisation of x (B C S), forward. Maths, shapes and source:
 * bpx/layers/group_norm.py, instance_norm.py, batch_norm.py.
 *
 * x is read once for its statistics, block by block: a block's mean and then its squares, the second
 * time from the first-level cache. The blocks are merged in double. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "standardize.h"

#define BODY "standardize_forward_body.h"
#include "each_type.h"
