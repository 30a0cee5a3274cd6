/* One element type (each_type.h). Included by rnn.c. */
#include "recurrent_body.h"

/* h_t = tanh(a), or a where a > 0 (NaN stays one) */
BPX_CLONES static void FN(forward_states)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t units = s->units;
    for (int64_t row = 0; row < b->count; row++) {
        T *restrict states = s->y_made + (t * s->batch + b->first + row) * units;
        if (t >= b->steps[row]) {
            FN(past)(states, units, b->steps[row] >= 0);
            continue;
        }
        const A *restrict a = b->sums + row * b->wide;
        A *restrict h = b->h + row * units;
        if (s->relu) {
#pragma omp simd
            for (int64_t i = 0; i < units; i++) h[i] = a[i] <= 0 ? 0 : a[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < units; i++) h[i] = TANH(a[i]);
        }
#pragma omp simd
        for (int64_t i = 0; i < units; i++) states[i] = STORE(h[i]);
    }
}

/* da = g (1 - h^2), or g where h > 0, with g the gradient of h_t */
BPX_CLONES static void FN(backward_states)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t units = s->units;
    for (int64_t row = 0; row < b->count; row++) {
        const int64_t at = (t * s->batch + b->first + row) * units;
        A *restrict da = s->da + at;
        const A *restrict dh = b->sums + row * b->wide;
        const T *restrict dy = s->dy + at, *restrict y = s->y + at;
        if (t >= b->steps[row]) {
            for (int64_t i = 0; i < units; i++) da[i] = 0;
        } else if (s->relu) {
#pragma omp simd
            for (int64_t i = 0; i < units; i++) {
                const A g = LOAD(dy[i]) + dh[i];
                da[i] = LOAD(y[i]) > 0 ? g : 0;
            }
        } else {
#pragma omp simd
            for (int64_t i = 0; i < units; i++) {
                const A h = LOAD(y[i]);
                da[i] = (LOAD(dy[i]) + dh[i]) * (1 - h * h);
            }
        }
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t units = s->units;
    FN(Block) b = FN(block)(s, chunk, units);
    memcpy(b.h, s->h0 + b.first * units, (size_t)(b.count * units) * sizeof(A));
    A *own = b.sums;
    for (int64_t t = 0; t < s->steps; t++) {
        FN(begin)(s, &b, own, t);
        FN(recur)(s, &b);
        FN(forward_states)(s, &b, t);
    }
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t units = s->units;
    FN(Block) b = FN(block)(s, chunk, units);
    for (int64_t t = s->steps - 1; t >= 0; t--) {
        FN(backward_states)(s, &b, t);
        if (s->packed == NULL) return;
        memset(b.sums, 0, (size_t)(b.count * b.wide) * sizeof(A));
        FN(bpx_product)(b.count, units, units, s->da + (t * s->batch + b.first) * units, units, 1,
                        s->packed, b.sums, b.wide);
        FN(unproject)(s, &b, t, units);
    }
    for (int64_t row = 0; row < b.count; row++)
        memcpy(s->dh0 + (b.first + row) * units, b.sums + row * b.wide, (size_t)units * sizeof(A));
}

typedef struct {
    const A *a, *h0, *w_hh, *w_ih, *b_ih; /* without w_hh, b_ih is u */
    const void *lengths;
    T *y;
    int64_t steps, batch, units, bytes, relu, ins;
} FN(Forward);

BPX_EXPORT int FN(bpx_rnn_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.a = c->a, .h0 = c->h0, .lengths = c->lengths, .y_made = c->y};
    s.w_ih = c->w_ih, s.b_ih = c->b_ih, s.u = c->b_ih, s.ins = c->ins;
    s.steps = c->steps, s.batch = c->batch, s.bytes = c->bytes, s.relu = c->relu;
    s.units = s.rows = c->units;
    return FN(walk)(&s, FN(forward_task), c->w_hh, s.units, s.units, s.units, 1, parallel, host);
}

typedef struct {
    const T *dy, *y;
    const A *w_hh, *w_ih; /* without w_hh, dh0 is the caller's to make */
    const void *lengths;
    A *da, *dh0;
    T *dx; /* made where w_ih is given */
    int64_t steps, batch, units, bytes, relu, ins;
} FN(Backward);

BPX_EXPORT int FN(bpx_rnn_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.dy = c->dy, .y = c->y, .lengths = c->lengths, .da = c->da, .dh0 = c->dh0};
    s.dx = c->dx, s.w_ih = c->w_ih, s.ins = c->ins;
    s.steps = c->steps, s.batch = c->batch, s.bytes = c->bytes, s.relu = c->relu;
    s.units = s.rows = c->units;
    return FN(walk)(&s, FN(backward_task), c->w_hh, s.units, s.units, 1, s.units, parallel, host);
}
