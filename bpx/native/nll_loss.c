/* Minus the log-probability of class labels, forward and backward. Maths, shapes and source:
 * bpx/losses/nll_loss.py. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"

#define BODY "nll_loss_body.h"
#include "each_type.h"
