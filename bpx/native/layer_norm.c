/* Layer normalisation, forward and backward. Maths, shapes and source: bpx/layers/layer_norm.py.
 *
 * A task owns a chunk of rows. Each row is read from memory once: its later passes find it in the
 * first-level cache. Sums run in vector lanes (`omp simd reduction`, no threads) in float for f32
 * and bf16, double for f64. */
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "stream.h"

#define BODY "layer_norm_body.h"
#include "each_type.h"
