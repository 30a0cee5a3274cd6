/* One element type (each_type.h). Included by adam_move.c. */

/* Each array written may be the one read: an element is read before it is written. */
typedef struct {
    const T *g;
    const A *m, *v;
    const T *p;
    const A *rates;
    T *p_out;
    A *m_out, *v_out;
    int64_t elements, decays;
} FN(AdamMove);

typedef struct {
    const FN(AdamMove) *call;
    int64_t chunks;
} FN(AdamState);

BPX_INLINE void FN(adam_elements)(const FN(AdamMove) *c, int64_t first, int64_t last,
                                  const int decays) {
    const A *rates = c->rates;
    const A b1 = rates[B1], rest1 = rates[REST1], b2 = rates[B2], rest2 = rates[REST2];
    const A factor = rates[FACTOR], beside = rates[BESIDE], shift = rates[SHIFT];
    const A decay = rates[DECAY];
    const T *g = c->g, *p = c->p;
    const A *m = c->m, *v = c->v;
    T *p_out = c->p_out;
    A *m_out = c->m_out, *v_out = c->v_out;
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
        const A gradient = LOAD(g[i]);
        const A mean = b1 * m[i] + rest1 * gradient;
        const A square = b2 * v[i] + rest2 * gradient * gradient;
        m_out[i] = mean;
        v_out[i] = square;
        const A step = factor * mean / (SQRT(square + shift) + beside);
        const A old = LOAD(p[i]);
        p_out[i] = STORE(decays ? old - (step + decay * old) : old - step);
    }
}

BPX_CLONES static void FN(adam_chunk)(const FN(AdamMove) *c, int64_t first, int64_t last) {
    if (c->decays) FN(adam_elements)(c, first, last, 1);
    else FN(adam_elements)(c, first, last, 0);
}

static void FN(adam_task)(void *state, int64_t chunk) {
    const FN(AdamState) *s = state;
    FN(adam_chunk)(s->call, bpx_first_row(chunk, s->chunks, s->call->elements),
                   bpx_first_row(chunk + 1, s->chunks, s->call->elements));
}

BPX_EXPORT int FN(bpx_adam_move)(const void *call, bpx_parallel_for parallel, void *host) {
    FN(AdamState) s = {.call = call};
    s.chunks = bpx_chunks(s.call->elements, 1);
    bpx_run(parallel, host, s.chunks, FN(adam_task), &s);
    return 0;
}
