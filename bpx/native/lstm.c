/* lstm, forward and backward. Maths, shapes and source: bpx/layers/lstm.py; the walk: recurrent.h. */
#include "recurrent.h"

#define BODY "lstm_body.h"
#include "each_type.h"
