/* Adam and AdamW. Maths and sources: bpx/optimizers/adam.py, adamw.py. */
#include "optimizer_steps.h"

enum { LR, B1, B2, EPS, DECAY };

/* The bias corrections and eps as two numbers, which cost no pass over the elements:
 *     m / c1 / (sqrt(v / c2) + eps) = (sqrt(c2) / c1) * m / (sqrt(v) + eps * sqrt(c2)) */
static void factors(const bpx_step *s, bpx_row *row, double t) {
    const double c1 = 1 - pow(s->numbers[B1], t), c2 = 1 - pow(s->numbers[B2], t);
    double root = sqrt(c2), eps = s->numbers[EPS];
    if (!(s->flags & BPX_STEP_EPS_HAT)) eps *= root;
    if ((s->flags & BPX_STEP_AMSGRAD) && (s->flags & BPX_STEP_CORRECTED)) {
        eps /= root;
        root = 1;
    }
    row->factors[0] = s->numbers[LR] * root / c1;
    row->factors[1] = eps;
    row->factors[2] = c2;
}

#define BODY "step_adam_body.h"
#include "each_type.h"
