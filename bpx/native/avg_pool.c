/* Means over windows, forward and backward, of given and of adaptive windows. Maths, shapes and
 * sources: bpx/layers/avg_pool.py, adaptive_avg_pool.py.
 *
 * A task owns planes (B x C). A row of outputs is summed place by place of the window, the windows
 * side by side; adaptive windows one after the other. */
#include <stdlib.h>

#include "windows.h"

#define BODY "avg_pool_body.h"
#include "each_type.h"
