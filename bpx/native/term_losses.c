/* Losses of terms, one from each place of up to four arrays. Maths and sources: bpx/losses.
 *
 * One pass over the arguments in forward, one in backward, in blocks that stay in the first-level cache
 * where more than two gradients are wanted. A sum is taken in float within a block (in vector lanes),
 * in double over the blocks and chunks. */
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "term_losses.h"
#include "vector_math.h"

enum { BLOCK = 1024 };

#define BODY "term_losses_body.h"
#include "each_type.h"
