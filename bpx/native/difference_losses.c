/* Losses of a difference: mse, huber, smooth_l1, which keep it, and l1, which keeps its sign. Maths and
 * sources: bpx/losses. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

enum { BLOCK = 1024 };

#define BODY "difference_losses_body.h"
#include "each_type.h"
