/* A number times x plus a number, forward and backward. Maths, shapes: bpx/layers/affine.py. */
#include <stdlib.h>

#include "core.h"

enum { PIECE = 4096 }; /* elements whose sum is taken in the arithmetic; pieces are added in double */

#define BODY "affine_body.h"
#include "each_type.h"
