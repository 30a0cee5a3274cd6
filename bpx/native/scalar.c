/* exp, square, sin, cos. Maths and sources: bpx/activations/scalar.py. */
#include "elementwise.h"

#define BODY "scalar_body.h"
#include "each_type.h"
