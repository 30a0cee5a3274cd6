/* One element type (each_type.h). Included by step_squares.c. */

#define ARRAYS                                                                                     \
    const A sign = s->flags & BPX_STEP_MAXIMIZE ? -1 : 1;                                          \
    const int decoupled = (s->flags & BPX_STEP_DECOUPLED) != 0;                                    \
    const A kept = decoupled ? (A)(1 - s->numbers[LR] * s->numbers[DECAY]) : 1;                    \
    const A decay = decoupled ? 0 : (A)s->numbers[DECAY];                                          \
    const int decays = decay != 0; /* 0 * inf would be NaN */                                      \
    const A size = (A)row->factors[0], eps = (A)s->numbers[EPS];                                   \
    T *restrict p = (T *)row->p;                                                                   \
    const T *restrict grad = (const T *)row->g;                                                    \
    A *restrict first_state = (A *)row->state[0], *restrict second_state = (A *)row->state[1]

/* The gradient to step along; `old` is the parameter. */
#define GRADIENT                                                                                   \
    A old = LOAD(p[i]), g = sign * LOAD(grad[i]);                                                  \
    if (decays) g += decay * old;                                                                  \
    old *= kept

BPX_INLINE void FN(rmsprop_span)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last,
                                 const int centered, const int momentum) {
    ARRAYS;
    const int inside = (s->flags & BPX_STEP_EPS_INSIDE) != 0;
    const int lr_inside = (s->flags & BPX_STEP_LR_INSIDE) != 0;
    const A rate = (A)s->numbers[RATE], rest = (A)(1 - s->numbers[RATE]);
    const A along = (A)s->numbers[MOMENTUM];
    A *restrict v = first_state, *restrict mean = second_state, *restrict buf = (A *)row->state[2];
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        GRADIENT;
        A variance = rate * v[i] + rest * (g * g);
        v[i] = variance;
        if (centered) {
            const A m = mean[i] + rest * (g - mean[i]);
            mean[i] = m;
            variance -= m * m;
            variance = variance < 0 ? 0 : variance; /* of rounding; a NaN stays */
        }
        const A root = inside ? SQRT(variance + eps) : SQRT(variance) + eps;
        if (momentum) {
            const A step = along * buf[i] + (lr_inside ? -size * g : g) / root;
            buf[i] = step;
            p[i] = STORE(lr_inside ? old + step : old - size * step);
        } else {
            p[i] = STORE(old - size * g / root);
        }
    }
}

BPX_CLONES static void FN(rmsprop)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    const int centered = (s->flags & BPX_STEP_CENTERED) != 0;
    const int momentum = (s->flags & BPX_STEP_MOMENTUM) != 0;
    if (centered && momentum) FN(rmsprop_span)(s, row, first, last, 1, 1);
    else if (centered) FN(rmsprop_span)(s, row, first, last, 1, 0);
    else if (momentum) FN(rmsprop_span)(s, row, first, last, 0, 1);
    else FN(rmsprop_span)(s, row, first, last, 0, 0);
}

BPX_CLONES static void FN(adagrad)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    ARRAYS;
    const int inside = (s->flags & BPX_STEP_EPS_INSIDE) != 0;
    A *restrict sum = first_state;
    (void)second_state;
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        GRADIENT;
        const A total = sum[i] + g * g;
        sum[i] = total;
        const A root = inside ? SQRT(total + eps) : SQRT(total) + eps;
        /* an element that had no gradient yet stays where it is, even with eps = 0 */
        const A step = size * g / root;
        p[i] = STORE(inside && total <= 0 ? old : old - step);
    }
}

BPX_CLONES static void FN(adadelta)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    ARRAYS;
    const A rate = (A)s->numbers[RATE], rest = (A)(1 - s->numbers[RATE]);
    A *restrict v = first_state, *restrict u = second_state;
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        GRADIENT;
        const A square = rate * v[i] + rest * (g * g);
        v[i] = square;
        const A step = SQRT((u[i] + eps) / (square + eps)) * g;
        u[i] = rate * u[i] + rest * (step * step);
        p[i] = STORE(old - size * step);
    }
}

BPX_CLONES static void FN(adamax)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    ARRAYS;
    const A rest1 = (A)(1 - s->numbers[RATE]), b2 = (A)s->numbers[ADAMAX_B2];
    const int outside = (s->flags & BPX_STEP_EPS_OUTSIDE) != 0;
    const A inner = outside ? 0 : eps, outer = outside ? eps : 0;
    A *restrict m = first_state, *restrict u = second_state;
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        GRADIENT;
        const A mean = m[i] + rest1 * (g - m[i]);
        m[i] = mean;
        const A held = b2 * u[i], seen = (g < 0 ? -g : g) + inner;
        const A largest = seen > held || seen != seen ? seen : held;
        u[i] = largest;
        p[i] = STORE(old - size * mean / (largest + outer));
    }
}

#undef ARRAYS
#undef GRADIENT

#define KERNEL(name, factors)                                                                      \
    BPX_EXPORT int FN(bpx_step_##name)(const void *call, bpx_parallel_for parallel, void *host) {  \
        return bpx_step_all(call, parallel, host, factors, FN(name));                              \
    }
KERNEL(rmsprop, constant)
KERNEL(adagrad, adagrad_factors)
KERNEL(adadelta, constant)
KERNEL(adamax, adamax_factors)
#undef KERNEL
