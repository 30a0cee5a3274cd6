/* InfoNCE of similarities (rows x rows): the loss of each row against its diagonal element, and the
 * gradient of the similarities. Maths, shapes and source: bpx/losses/info_nce.py. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "vector_math.h"

#define BODY "info_nce_body.h"
#include "each_type.h"
