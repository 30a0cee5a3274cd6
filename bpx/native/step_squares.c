/* Steps scaled by a mean or sum of squares, without bias correction: RMSprop, Adagrad, Adadelta; and
 * Adamax, scaled by a maximum. Maths and sources: bpx/optimizers/rmsprop.py and so on. */
#include "optimizer_steps.h"

enum { LR, RATE, EPS, DECAY, MOMENTUM };  /* RATE: alpha of RMSprop, rho of Adadelta */
enum { ADAGRAD_LR_DECAY = 4 };
enum { ADAMAX_B2 = 4 };  /* RATE: b1 */

static void constant(const bpx_step *s, bpx_row *row, double t) {
    (void)t;
    row->factors[0] = s->numbers[LR];
}

static void adagrad_factors(const bpx_step *s, bpx_row *row, double t) {
    row->factors[0] = s->numbers[LR] / (1 + (t - 1) * s->numbers[ADAGRAD_LR_DECAY]);
}

static void adamax_factors(const bpx_step *s, bpx_row *row, double t) {
    row->factors[0] = s->numbers[LR] / (1 - pow(s->numbers[RATE], t));
}

#define BODY "step_squares_body.h"
#include "each_type.h"
