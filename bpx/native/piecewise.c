/* Piecewise linear and quadratic activations, and surrogates. Maths, sources and the values where a
 * derivative jumps: bpx/activations/{piecewise,shrinkage,sparse}.py, bpx/surrogate. */
#include "elementwise.h"

#define BODY "piecewise_body.h"
#include "each_type.h"
