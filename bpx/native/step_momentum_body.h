/* One element type (each_type.h). Included by step_momentum.c. */

BPX_INLINE void FN(sgd_span)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last,
                             const int momentum, const int nesterov) {
    const int lr_inside = momentum && s->flags & BPX_STEP_LR_INSIDE;
    const int decoupled = (s->flags & BPX_STEP_DECOUPLED) != 0;
    const A sign = s->flags & BPX_STEP_MAXIMIZE ? -1 : 1;
    const A kept = decoupled ? (A)(1 - s->numbers[LR] * s->numbers[DECAY]) : 1;
    const A decay = decoupled ? 0 : (A)s->numbers[DECAY];
    const int decays = decay != 0;  /* 0 * inf would be NaN */
    const A inside = lr_inside ? (A)-s->numbers[LR] : 1;
    const A size = lr_inside ? -1 : (A)s->numbers[LR];
    const A rate = (A)s->numbers[MOMENTUM], taken = (A)s->numbers[TAKEN];
    T *restrict p = (T *)row->p;
    const T *restrict grad = (const T *)row->g;
    A *restrict buf = (A *)row->state[0];
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        const A old = LOAD(p[i]);
        A g = sign * LOAD(grad[i]);
        if (decays) g += decay * old;
        g *= inside;
        if (momentum) {
            const A b = rate * buf[i] + taken * g;
            buf[i] = b;
            g = nesterov ? g + rate * b : b;
        }
        p[i] = STORE(kept * old - size * g);
    }
}

BPX_CLONES static void FN(sgd)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    if (!(s->flags & BPX_STEP_MOMENTUM)) FN(sgd_span)(s, row, first, last, 0, 0);
    else if (s->flags & BPX_STEP_NESTEROV) FN(sgd_span)(s, row, first, last, 1, 1);
    else FN(sgd_span)(s, row, first, last, 1, 0);
}

BPX_CLONES static void FN(lion)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    const A sign = s->flags & BPX_STEP_MAXIMIZE ? -1 : 1;
    const A kept = (A)(1 - s->numbers[LION_LR] * s->numbers[LION_DECAY]), lr = (A)s->numbers[LION_LR];
    const A b1 = (A)s->numbers[LION_B1], rest1 = (A)(1 - s->numbers[LION_B1]);
    const A rest2 = (A)(1 - s->numbers[LION_B2]);
    T *restrict p = (T *)row->p;
    const T *restrict grad = (const T *)row->g;
    A *restrict m = (A *)row->state[0];
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        const A g = sign * LOAD(grad[i]), held = m[i];
        const A along = b1 * held + rest1 * g;
        /* the sign; a NaN stays */
        const A step = along > 0 ? (A)1 : along < 0 ? (A)-1 : along;
        m[i] = held + rest2 * (g - held);
        p[i] = STORE(kept * LOAD(p[i]) - lr * step);
    }
}

BPX_EXPORT int FN(bpx_step_sgd)(const void *call, bpx_parallel_for parallel, void *host) {
    return bpx_step_all(call, parallel, host, factors, FN(sgd));
}

BPX_EXPORT int FN(bpx_step_lion)(const void *call, bpx_parallel_for parallel, void *host) {
    return bpx_step_all(call, parallel, host, factors, FN(lion));
}
