/* One element type. Each unit gives f(g) and, through `slope`, f'(g); s is sigmoid(g), q is 1 - s. */

BPX_INLINE A FN(gate_sigmoid)(A g, A *q) {
    const A t = MATH(bpx_exp_minus)(g), inverse = 1 / (1 + t);
    *q = g < 0 ? inverse : t * inverse;
    return g < 0 ? t * inverse : inverse;
}

BPX_INLINE A FN(glu_gate)(A g, A *slope) {
    A q;
    const A s = FN(gate_sigmoid)(g, &q);
    *slope = s * q;
    return s;
}

BPX_INLINE A FN(swiglu_gate)(A g, A *slope) {
    A q;
    const A s = FN(gate_sigmoid)(g, &q);
    *slope = s * (1 + g * q); /* s + g s' */
    return g * s;
}

BPX_INLINE A FN(geglu_none_gate)(A g, A *slope) {
    A density;
    const A phi = MATH(bpx_ndtr)(g, &density);
    *slope = phi + g * density * (A)0.39894228040143268;
    return g * phi;
}

/* g s(u), u = 2 sqrt(2 / pi) (g + 0.044715 g^3) */
BPX_INLINE A FN(geglu_tanh_gate)(A g, A *slope) {
    A q;
    const A s = FN(gate_sigmoid)((A)1.5957691216057308 * (g + (A)0.044715 * (g * g * g)), &q);
    const A low = g < -30 ? -30 : g, near = low > 30 ? 30 : low; /* q s is 0 beyond */
    const A du = (A)1.5957691216057308 * (1 + (A)0.134145 * near * near);
    *slope = s * (1 + near * q * du);
    return g * s;
}

BPX_INLINE A FN(reglu_gate)(A g, A *slope) {
    *slope = g <= 0 ? 0 : 1;
    return g <= 0 ? 0 : g;
}

/* Elements first ... last - 1 of y, row by row of x and gate. */
#define EACH_OF_ROWS(...)                                                                          \
    for (int64_t begin = first, end; begin < last; begin = end) {                                  \
        const int64_t at = begin / c->row * (c->step - c->row);                                    \
        end = bpx_least(last, (begin / c->row + 1) * c->row);                                      \
        const T *restrict x = c->x + at, *restrict gate = c->gate + at;                            \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++) __VA_ARGS__                      \
    }

/* dx = dy f(gate),  dgate = dy f'(gate) x, which overflows only where the product does. x and gate may be
 * halves of one array: `row` elements side by side, from a row to the next `step`. `again` gives y too, for
 * a backward that reads it and did not keep it. */
#define GATED(name)                                                                                \
    ELEMENTS(name##_forward, const T *x; const T *gate; T *y; int64_t row; int64_t step;           \
             , T *restrict y = c->y; EACH_OF_ROWS({                                                \
                 A slope;                                                                          \
                 y[i] = STORE(LOAD(x[i]) * FN(name##_gate)(LOAD(gate[i]), &slope));                \
             }))                                                                                   \
    ELEMENTS(name##_backward, const T *dy; const T *x; const T *gate; T *dx; T *dgate;             \
             int64_t row; int64_t step;, const T *restrict dy = c->dy; T *restrict dx = c->dx;     \
             T *restrict dgate = c->dgate; if (dx != NULL && dgate != NULL) {                      \
                 EACH_OF_ROWS({                                                                    \
                     A up;                                                                         \
                     const A v = LOAD(dy[i]);                                                      \
                     dx[i] = STORE(v * FN(name##_gate)(LOAD(gate[i]), &up));                       \
                     dgate[i] = STORE(v * up * LOAD(x[i]));                                        \
                 })                                                                                \
             } else if (dx != NULL) {                                                              \
                 EACH_OF_ROWS({                                                                    \
                     A up;                                                                         \
                     (void)x;                                                                      \
                     dx[i] = STORE(LOAD(dy[i]) * FN(name##_gate)(LOAD(gate[i]), &up));             \
                 })                                                                                \
             } else if (dgate != NULL) {                                                           \
                 EACH_OF_ROWS({                                                                    \
                     A up;                                                                         \
                     (void)FN(name##_gate)(LOAD(gate[i]), &up);                                    \
                     dgate[i] = STORE(LOAD(dy[i]) * up * LOAD(x[i]));                              \
                 })                                                                                \
             })                                                                                    \
    ELEMENTS(name##_again, const T *dy; const T *x; const T *gate; T *y; T *dx; T *dgate;          \
             , const T *restrict dy = c->dy; const T *restrict x = c->x;                           \
             const T *restrict gate = c->gate; T *restrict y = c->y; T *restrict dx = c->dx;       \
             T *restrict dgate = c->dgate; EACH {                                                  \
                 A up;                                                                             \
                 const A v = LOAD(dy[i]), u = LOAD(x[i]);                                          \
                 const A f = FN(name##_gate)(LOAD(gate[i]), &up);                                  \
                 y[i] = STORE(u * f);                                                              \
                 dx[i] = STORE(v * f);                                                             \
                 dgate[i] = STORE(v * up * u);                                                     \
             })

GATED(glu)
GATED(swiglu)
GATED(geglu_none)
GATED(geglu_tanh)
GATED(reglu)

#undef GATED
#undef EACH_OF_ROWS
