/* What linear_cross_entropy does with the logits of some rows between its products. Maths, shapes and
 * source: bpx/fused/linear_cross_entropy.py.
 *
 * A row is read from memory once and becomes its own gradient: bias, softcap, maximum, exponentials,
 * loss and gradient find it in cache. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "vector_math.h"

enum { BPX_COLUMNS = 512 }; /* of a sum down the rows at once */

#define BODY "linear_cross_entropy_body.h"
#include "each_type.h"
