/* One element type (each_type.h). Included by move.c. */

/* Each array written may be the one read: an element is read before it is written. Arrays that a
 * rule does not hold are NULL. */
typedef struct {
    const T *g, *p;
    const A *m, *v, *rates;
    T *p_out;
    A *m_out, *v_out;
    int64_t elements, variant;
} FN(Move);

typedef void (*FN(Span))(const FN(Move) *call, int64_t first, int64_t last);

typedef struct {
    const FN(Move) *call;
    FN(Span) span;
    int64_t chunks;
} FN(MoveState);

static void FN(move_task)(void *state, int64_t chunk) {
    const FN(MoveState) *s = state;
    s->span(s->call, bpx_first_row(chunk, s->chunks, s->call->elements),
            bpx_first_row(chunk + 1, s->chunks, s->call->elements));
}

/* RULE(name) { return p after the step; } of p, g, the held *m and *v, which it advances, and the
 * rates r. MOVE(name, held) is its kernel, with so many arrays held. */
#define RULE(name)                                                                                 \
    BPX_INLINE A FN(name##_new)(A p, A g, BPX_MAYBE A *m, BPX_MAYBE A *v, const A *r,              \
                                BPX_MAYBE const int variant)

#define MOVE(name, held)                                                                           \
    BPX_INLINE void FN(name##_elements)(const FN(Move) *c, int64_t first, int64_t last,            \
                                        const int variant) {                                       \
        A r[BPX_MOVE_RATES];                                                                       \
        memcpy(r, c->rates, sizeof r);                                                             \
        const T *g = c->g, *p = c->p;                                                              \
        const A *m = c->m, *v = c->v;                                                              \
        T *p_out = c->p_out;                                                                       \
        A *m_out = c->m_out, *v_out = c->v_out;                                                    \
        _Pragma("omp simd") for (int64_t i = first; i < last; i++) {                               \
            A one = m[i], two = held > 1 ? v[i] : 0;                                               \
            p_out[i] = STORE(FN(name##_new)(LOAD(p[i]), LOAD(g[i]), &one, &two, r, variant));      \
            m_out[i] = one;                                                                        \
            if (held > 1) v_out[i] = two;                                                          \
        }                                                                                          \
    }                                                                                              \
    BPX_CLONES static void FN(name##_span)(const FN(Move) *c, int64_t first, int64_t last) {       \
        if (c->variant == 0) FN(name##_elements)(c, first, last, 0);                               \
        else if (c->variant == DECAYS) FN(name##_elements)(c, first, last, DECAYS);                \
        else if (c->variant == OTHER) FN(name##_elements)(c, first, last, OTHER);                  \
        else FN(name##_elements)(c, first, last, DECAYS | OTHER);                                  \
    }                                                                                              \
    BPX_EXPORT int FN(bpx_move_##name)(const void *call, bpx_parallel_for parallel, void *host) {  \
        FN(MoveState) s = {.call = call, .span = FN(name##_span)};                                 \
        s.chunks = bpx_chunks(s.call->elements, 1);                                                \
        bpx_run(parallel, host, s.chunks, FN(move_task), &s);                                      \
        return 0;                                                                                  \
    }

/* Decay beside the step: p - (step + decay p) */
BPX_INLINE A FN(stepped)(A p, A step, A decay, const int variant) {
    return variant & DECAYS ? p - (step + decay * p) : p - step;
}

/* r: the decay of m and its rest, that of v and its rest, then a, b, c of
 *     a m / (sqrt(v + c) + b),
 * the decay of p, and what is added to a m for each g (OTHER). Adam, AdamW, NAdam */
RULE(adam) {
    *m = r[0] * *m + r[1] * g;
    *v = r[2] * *v + r[3] * g * g;
    const A along = variant & OTHER ? r[4] * *m + r[8] * g : r[4] * *m;
    return FN(stepped)(p, along / (SQRT(*v + r[6]) + r[5]), r[7], variant);
}

/* r: the decay of the sum of squares m, its rest, then a, b, c of
 *     a g / (sqrt(m + c) + b),
 * which is 0 where m is not above 0 (OTHER). RMSprop, Adagrad */
RULE(squares) {
    *m = r[0] * *m + r[1] * g * g;
    const A step = r[2] * g / (SQRT(*m + r[4]) + r[3]);
    return p - (variant & OTHER && !(*m > 0) ? 0 : step);
}

/* r: the decays and rests of the direction and of m, the rate, the decay of p. The sign of NaN is
 * NaN. Lion */
RULE(signs) {
    const A d = r[0] * *m + r[1] * g;
    *m = r[2] * *m + r[3] * g;
    const A sign = d > 0 ? 1 : d < 0 ? -1 : d;
    return FN(stepped)(p, r[4] * sign, r[5], variant);
}

/* r: the decay of m and its rest, that of the maximum v, the rate, eps inside the maximum and beside
 * it, the decay of p. NaN on either side of the maximum stays. Adamax */
RULE(maxima) {
    *m = r[0] * *m + r[1] * g;
    const A held = r[2] * *v, seen = MATH(bpx_abs)(g) + r[4];
    *v = held > seen || held != held ? held : seen;
    return FN(stepped)(p, r[3] * *m / (*v + r[5]), r[6], variant);
}

/* r: the decay of both means and its rest, eps, the rate, the L2 penalty. Adadelta */
RULE(deltas) {
    const A slope = variant & DECAYS ? g + r[4] * p : g;
    *m = r[0] * *m + r[1] * slope * slope;
    const A d = SQRT((*v + r[2]) / (*m + r[2])) * slope;
    *v = r[0] * *v + r[1] * d * d;
    return p - r[3] * d;
}

/* r: the decay of the velocity m, what it takes of g, what p takes of it, the L2 penalty. OTHER looks
 * one step ahead. SGD, LARS */
RULE(velocity) {
    const A push = r[1] * (variant & DECAYS ? g + r[3] * p : g);
    *m = r[0] * *m + push;
    return p + r[2] * (variant & OTHER ? push + r[0] * *m : *m);
}

MOVE(adam, 2)
MOVE(squares, 1)
MOVE(signs, 1)
MOVE(maxima, 2)
MOVE(deltas, 2)
MOVE(velocity, 1)
#undef RULE
#undef MOVE
