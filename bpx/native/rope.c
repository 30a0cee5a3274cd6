/* Rotary position embedding: rows of x (N T D) turned by tables (T P), and the tables' gradients.
 * Maths, shapes and source: bpx/layers/rope.py. */
#include <stddef.h>

#include "core.h"

#define BODY "rope_body.h"
#include "each_type.h"
