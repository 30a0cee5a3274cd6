/* Root-mean-square normalisation, forward and backward. Maths, shapes and source:
 * bpx/layers/rms_norm.py.
 *
 * A task owns a chunk of rows, each read from memory once: its second pass finds it in cache. */
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "stream.h"

#define BODY "rms_norm_body.h"
#include "each_type.h"
