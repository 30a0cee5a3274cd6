/* Batch normalisation of x (N C), the channels adjacent: of two dims, or channels_last. Backward.
 * Maths, shapes and source: bpx/layers/batch_norm.py, the terms: standardize_backward_body.h.
 *
 * A task owns a chunk of rows; the sums of blocks of rows and then of chunks are added in double. */
#include <math.h>
#include <stdlib.h>

#include "standardize.h"

enum { BLOCK_ROWS = 128, XHAT = 0, G, GX, DY, DYX, SUMS };

#define BODY "batch_norm_rows_backward_body.h"
#include "each_type.h"
