/* One element type. */

Y(exp) { return MATH(bpx_exp)(x); }
DX(exp) { return dy * x; /* x is y, which exp keeps */ }

Y(square) { return x * x; }
DX(square) { return 2 * dy * x; /* x + x would overflow first */ }

BOTH(exp)
BOTH(square)

/* The vectorised sin and cos take a bounded x: blocks that stay in the first-level cache are looked at
 * first, and one that holds a larger x is done by the scalar ones. */
#define WAVE(name, fields, given, inside, outside)                                                 \
    ELEMENTS(name, fields, given for (int64_t start = first; start < last; start += 512) {         \
        const int64_t end = start + 512 < last ? start + 512 : last;                               \
        int far = 0;                                                                               \
        _Pragma("omp simd reduction(| : far)") for (int64_t i = start; i < end; i++) far |=        \
            MATH(bpx_abs)(LOAD(x[i])) > BPX_TRIG_BOUND;                                                \
        if (far) {                                                                                 \
            for (int64_t i = start; i < end; i++) outside;                                         \
        } else {                                                                                   \
            _Pragma("omp simd") for (int64_t i = start; i < end; i++) inside;                      \
        }                                                                                          \
    })
#define WAVE_FORWARD(name)                                                                         \
    WAVE(name##_forward, const T *x; T *y;, const T *restrict x = c->x; T *restrict y = c->y;      \
         , y[i] = STORE(MATH(bpx_##name)(LOAD(x[i]))), y[i] = STORE(MATH(bpx_##name##_any)(LOAD(x[i]))))
#define WAVE_BACKWARD(name, sign, other)                                                           \
    WAVE(name##_backward, const T *dy; const T *x; T *dx;, const T *restrict dy = c->dy;           \
         const T *restrict x = c->x; T *restrict dx = c->dx;                                       \
         , dx[i] = STORE(LOAD(dy[i]) * sign MATH(bpx_##other)(LOAD(x[i]))),                              \
         dx[i] = STORE(LOAD(dy[i]) * sign MATH(bpx_##other##_any)(LOAD(x[i]))))

WAVE_FORWARD(sin)
WAVE_BACKWARD(sin, +, cos)
WAVE_FORWARD(cos)
WAVE_BACKWARD(cos, -, sin)

#undef WAVE
#undef WAVE_FORWARD
#undef WAVE_BACKWARD
