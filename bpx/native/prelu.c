/* Leaky rectifier with a learned slope, forward and backward. Maths, shapes and source:
 * bpx/layers/prelu.py.
 *
 * x is (outer K inner); a task owns stretches of at most PIECE adjacent elements of one slope. With
 * inner 1 the slopes are adjacent, and a task owns rows of K. */
#include <stdlib.h>

#include "core.h"

enum { PIECE = 4096 };

#define BODY "prelu_body.h"
#include "each_type.h"
