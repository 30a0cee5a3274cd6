/* Layer normalisation, forward and backward. Maths, shapes and source: bpx/layers/layer_norm.py.
 *
 * A task owns a chunk of rows. Each row is read from memory once: its later passes find it in the
 * first-level cache. Sums run in vector lanes (`omp simd reduction`, no threads) in float for f32
 * and bf16, double for f64. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

#define NAME f32
#define T float
#define A float
#define SQRT sqrtf
#include "layer_norm_body.h"

#define NAME f64
#define T double
#define A double
#define SQRT sqrt
#include "layer_norm_body.h"

#define NAME bf16
#define T uint16_t
#define A float
#define SQRT sqrtf
#include "layer_norm_body.h"
