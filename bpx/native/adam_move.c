/* A step of Adam and AdamW on one array, with its rates given: the parameter and the moments.
 * Maths and sources: bpx/optimizers/adam.py, adamw.py. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

/* rates, given as they are at this step: each moment's decay and the rest of it, then the factor of
 * m / (sqrt(v + shift) + beside), beside, shift, and the factor of the parameter in the decay */
enum { B1, REST1, B2, REST2, FACTOR, BESIDE, SHIFT, DECAY };

#define BODY "adam_move_body.h"
#include "each_type.h"
