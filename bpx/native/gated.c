/* Gated linear units, y = x f(gate). Maths and sources: bpx/activations/gated.py. */
#include "elementwise.h"

#define BODY "gated_body.h"
#include "each_type.h"
