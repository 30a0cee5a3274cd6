/* A step of an optimizer on one array, its rates given as they are at this step: the parameter and
 * what the rule holds, in one pass. Maths and sources: bpx/optimizers. */
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "vector_math.h"

enum { BPX_MOVE_RATES = 9 };

/* Bits of the variant: the parameter decays; what each rule says of the other */
enum { DECAYS = 1, OTHER = 2 };

#define BODY "move_body.h"
#include "each_type.h"
