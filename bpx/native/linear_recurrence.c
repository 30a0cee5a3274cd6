/* Linear recurrence, forward and backward. Maths, shapes and source: bpx/layers/linear_recurrence.py.
 *
 * A task owns some columns of some batch elements and walks through their time: the state stays in
 * cache, and every array is read or written once. */
#include <stddef.h>

#include "core.h"

/* Columns that one item of work holds: enough vectors to hide the latency of the chain. */
enum { BPX_RECURRENCE_COLUMNS = 64 };

#define BODY "linear_recurrence_body.h"
#include "each_type.h"
