/* Steps along a gradient or its momentum: SGD, Lion. Maths and sources: bpx/optimizers/sgd.py, lion.py. */
#include "optimizer_steps.h"

enum { LR, MOMENTUM, TAKEN, DECAY };  /* SGD; TAKEN: the gradient's share, 1 - dampening */
enum { LION_LR, LION_B1, LION_B2, LION_DECAY };

static void factors(const bpx_step *s, bpx_row *row, double t) {
    (void)s, (void)row, (void)t;
}

#define BODY "step_momentum_body.h"
#include "each_type.h"
