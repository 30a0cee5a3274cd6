/* Maxima over windows, forward and backward, of given and of adaptive windows. Maths, shapes and
 * sources: bpx/layers/max_pool.py, adaptive_max_pool.py.
 *
 * A task owns planes (B x C). A row of outputs is found place by place of the window, the windows
 * side by side; adaptive windows one after the other. Backward finds the places again. */
#include <math.h>
#include <stdlib.h>

#include "windows.h"

#define BODY "max_pool_body.h"
#include "each_type.h"
