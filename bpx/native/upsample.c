/* Resizing by the nearest element and by linear interpolation, forward and backward. Maths, shapes and
 * sources: bpx/layers/upsample_nearest.py, upsample_linear.py.
 *
 * A task owns planes (B x C). A row of outputs is made of one to four rows of elements, weighted and
 * added, and then along itself; backward goes the other way. */
#include <stdlib.h>

#include "upsample.h"

#define BODY "upsample_body.h"
#include "each_type.h"
