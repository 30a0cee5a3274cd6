/* gru, forward and backward. Maths, shapes and source: bpx/layers/gru.py; the walk: recurrent.h. */
#include "recurrent.h"

#define BODY "gru_body.h"
#include "each_type.h"
