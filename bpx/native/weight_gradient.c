/* The gradient of a layer's weight, and of its bias, over many rows:
 *
 *     dweight[o, i] = sum over n of dy[n, o] x[n, i],  dbias[o] = sum over n of dy[n, o]
 *
 * Both factors are read along their rows and summed over them, which some BLAS are slow at. A task has a
 * range of the outs and of the rows, of which it packs some at a time, and sums of its own; how many
 * tasks there are follows from the sizes alone, and so does every rounding. */
#include <stdlib.h>

#include "core.h"
#include "product.h"

/* Rows packed at once: a panel of x stays in the first-level cache. The least rows of a task, below which
 * adding the tasks' sums costs more than another thread takes over. */
enum { DEPTH = 128, LINES = 8, LEAST = 512, TASKS = 4 };

/* Outs of a task, the fewer where the rows are too few for all tasks: whole rows of dy are read without
 * coming back to their pages. */
enum { OUTS = 1024, FEW_OUTS = 256 };

#define BODY "weight_gradient_body.h"
#include "each_type.h"
