/* rnn, forward and backward. Maths, shapes and source: bpx/layers/rnn.py; the walk: recurrent.h. */
#include "recurrent.h"

#define BODY "rnn_body.h"
#include "each_type.h"
