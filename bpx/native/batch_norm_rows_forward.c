/* Batch normalisation of x (N C), the channels adjacent: of two dims, or channels_last. Forward.
 * Maths, shapes and source: bpx/layers/batch_norm.py.
 *
 * A task owns a chunk of rows. Blocks of rows that stay in cache give their means and then their
 * squares, which are merged in double, and so are the chunks, in their order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "standardize.h"

/* Elements that take as long to read as a merge of two moments does. */
enum { MERGED = 8 };

#define BODY "batch_norm_rows_forward_body.h"
#include "each_type.h"
