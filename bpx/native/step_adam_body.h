/* One element type (each_type.h). Included by step_adam.c. */

BPX_INLINE void FN(adam_span)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last,
                              const int amsgrad, const int corrected, const int decoupled) {
    const A sign = s->flags & BPX_STEP_MAXIMIZE ? -1 : 1;
    const A b2 = (A)s->numbers[B2], rest1 = (A)(1 - s->numbers[B1]), rest2 = (A)(1 - s->numbers[B2]);
    const A kept = (A)(1 - s->numbers[LR] * s->numbers[DECAY]), decay = (A)s->numbers[DECAY];
    const int decays = decay != 0; /* 0 * inf would be NaN */
    const A size = (A)row->factors[0], eps = (A)row->factors[1], c2 = (A)row->factors[2];
    T *restrict p = (T *)row->p;
    const T *restrict grad = (const T *)row->g;
    A *restrict m = (A *)row->state[0], *restrict v = (A *)row->state[1];
    A *restrict largest = (A *)row->state[2];
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        A w = LOAD(p[i]), g = sign * LOAD(grad[i]);
        if (decoupled) w *= kept;
        else if (decays) g += decay * w;
        const A mean = m[i] + rest1 * (g - m[i]);
        A square = b2 * v[i] + rest2 * (g * g);
        m[i] = mean;
        v[i] = square;
        if (amsgrad) {
            if (corrected) square /= c2;
            const A held = largest[i];
            /* a NaN on either side stays */
            square = square > held || square != square ? square : held;
            largest[i] = square;
        }
        p[i] = STORE(w - size * mean / (SQRT(square) + eps));
    }
}

BPX_CLONES static void FN(adam)(const bpx_step *s, const bpx_row *row, int64_t first, int64_t last) {
    const int amsgrad = (s->flags & BPX_STEP_AMSGRAD) != 0;
    const int corrected = (s->flags & BPX_STEP_CORRECTED) != 0;
    const int decoupled = (s->flags & BPX_STEP_DECOUPLED) != 0;
    if (!amsgrad && decoupled) FN(adam_span)(s, row, first, last, 0, 0, 1);
    else if (!amsgrad) FN(adam_span)(s, row, first, last, 0, 0, 0);
    else if (corrected) FN(adam_span)(s, row, first, last, 1, 1, decoupled);
    else FN(adam_span)(s, row, first, last, 1, 0, decoupled);
}

BPX_EXPORT int FN(bpx_step_adam)(const void *call, bpx_parallel_for parallel, void *host) {
    return bpx_step_all(call, parallel, host, factors, FN(adam));
}
