/* One element type (each_type.h). Included by lstm.c. */
#include "recurrent_body.h"

/* i, f, o = sigmoid, g = tanh;  c_t = f c_{t-1} + i g,  h_t = o tanh(c_t) */
BPX_CLONES static void FN(forward_gates)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t units = s->units, cells = s->steps * s->batch * units;
    for (int64_t r = 0; r < b->count; r++) {
        const int64_t row = t * s->batch + b->first + r;
        T *restrict states = s->y_made + row * units;
        T *restrict gates = s->gates_made + row * 4 * units;
        if (t >= b->steps[r]) {
            FN(past)(states, units, b->steps[r] >= 0);
            FN(past)(states + cells, units, b->steps[r] >= 0);
            FN(past)(gates, 4 * units, 1);
            continue;
        }
        const A *restrict a = b->sums + r * b->wide;
        A *restrict h = b->h + r * units, *restrict c = b->c + r * units;
#pragma omp simd
        for (int64_t u = 0; u < units; u++) {
            const A i = SIGMOID(a[u]), f = SIGMOID(a[units + u]);
            const A g = TANH(a[2 * units + u]), o = SIGMOID(a[3 * units + u]);
            c[u] = f * c[u] + i * g;
            h[u] = o * TANH(c[u]);
            states[u] = STORE(h[u]);
            states[cells + u] = STORE(c[u]);
            gates[u] = STORE(i);
            gates[units + u] = STORE(f);
            gates[2 * units + u] = STORE(g);
            gates[3 * units + u] = STORE(o);
        }
    }
}

/* With p the gradient of h_t, q that of c_t and s = tanh(c_t):
 *     q = dc + p o (1 - s^2)                  c: what flows back to c_{t-1}, q f
 *     da = q g i (1 - i), q c_{t-1} f (1 - f), q i (1 - g^2), p s o (1 - o)
 * Of a single step y may be absent: c = f c0 + i g. da may stand where the gates do. */
BPX_CLONES static void FN(backward_gates)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t units = s->units, step = s->batch * units, cells = s->steps * step;
    for (int64_t r = 0; r < b->count; r++) {
        const int64_t row = t * s->batch + b->first + r;
        A *da = s->da + row * 4 * units;
        if (t >= b->steps[r]) {
            for (int64_t u = 0; u < 4 * units; u++) da[u] = 0;
            continue;
        }
        const A *restrict dh = b->sums + r * b->wide, *restrict start = s->c0 + (b->first + r) * units;
        A *restrict dc = b->c + r * units;
        const T *restrict dy = s->dy + row * units, *gates = s->gates + row * 4 * units;
        const int kept = s->y != NULL;
        const T *y = kept ? s->y + cells + row * units : gates;
        const T *before = t > 0 ? y - step : y;
#pragma omp simd
        for (int64_t u = 0; u < units; u++) {
            const A i = LOAD(gates[u]), f = LOAD(gates[units + u]);
            const A g = LOAD(gates[2 * units + u]), o = LOAD(gates[3 * units + u]);
            const A tanh_c = TANH(kept ? LOAD(y[u]) : f * start[u] + i * g);
            const A p = LOAD(dy[u]) + dh[u];
            const A q = LOAD(dy[cells + u]) + dc[u] + p * o * (1 - tanh_c * tanh_c);
            const A old = LOAD(before[u]), c = t > 0 ? old : start[u];
            da[u] = q * g * i * (1 - i);
            da[units + u] = q * c * f * (1 - f);
            da[2 * units + u] = q * i * (1 - g * g);
            da[3 * units + u] = p * tanh_c * o * (1 - o);
            dc[u] = q * f;
        }
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(Block) b = FN(block)(s, chunk, s->rows);
    const size_t bytes = (size_t)(b.count * s->units) * sizeof(A);
    memcpy(b.h, s->h0 + b.first * s->units, bytes);
    memcpy(b.c, s->c0 + b.first * s->units, bytes);
    A *own = b.sums;
    for (int64_t t = 0; t < s->steps; t++) {
        FN(begin)(s, &b, own, t);
        FN(recur)(s, &b);
        FN(forward_gates)(s, &b, t);
    }
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(Block) b = FN(block)(s, chunk, s->units);
    for (int64_t t = s->steps - 1; t >= 0; t--) {
        FN(backward_gates)(s, &b, t);
        if (s->packed == NULL) continue;
        memset(b.sums, 0, (size_t)(b.count * b.wide) * sizeof(A));
        FN(bpx_product)(b.count, s->units, s->rows, s->da + (t * s->batch + b.first) * s->rows,
                        s->rows, 1, s->packed, b.sums, b.wide);
        FN(unproject)(s, &b, t, s->rows);
    }
    for (int64_t r = 0; r < b.count; r++) {
        const size_t bytes = (size_t)s->units * sizeof(A);
        if (s->packed != NULL)
            memcpy(s->dh0 + (b.first + r) * s->units, b.sums + r * b.wide, bytes);
        memcpy(s->dc0 + (b.first + r) * s->units, b.c + r * s->units, bytes);
    }
}

typedef struct {
    const A *a, *h0, *c0, *w_hh, *w_ih, *b_ih; /* without w_hh, b_ih is u */
    const void *lengths;
    T *y, *gates;
    int64_t steps, batch, units, bytes, ins;
} FN(Forward);

BPX_EXPORT int FN(bpx_lstm_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.a = c->a, .h0 = c->h0, .c0 = c->c0, .lengths = c->lengths};
    s.w_ih = c->w_ih, s.b_ih = c->b_ih, s.u = c->b_ih, s.ins = c->ins;
    s.y_made = c->y, s.gates_made = c->gates;
    s.steps = c->steps, s.batch = c->batch, s.units = c->units, s.bytes = c->bytes;
    s.rows = 4 * s.units;
    return FN(walk)(&s, FN(forward_task), c->w_hh, s.rows, s.units, s.units, 1, parallel, host);
}

typedef struct {
    const T *dy, *y, *gates;
    const A *c0, *w_hh, *w_ih; /* without w_hh, dh0 is the caller's to make */
    const void *lengths;
    A *da, *dh0, *dc0;
    T *dx; /* made where w_ih is given */
    int64_t steps, batch, units, bytes, ins;
} FN(Backward);

BPX_EXPORT int FN(bpx_lstm_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.dy = c->dy, .y = c->y, .gates = c->gates, .c0 = c->c0, .lengths = c->lengths};
    s.da = c->da, s.dh0 = c->dh0, s.dc0 = c->dc0, s.dx = c->dx, s.w_ih = c->w_ih, s.ins = c->ins;
    s.steps = c->steps, s.batch = c->batch, s.units = c->units, s.bytes = c->bytes;
    s.rows = 4 * s.units;
    return FN(walk)(&s, FN(backward_task), c->w_hh, s.units, s.rows, 1, s.units, parallel, host);
}
