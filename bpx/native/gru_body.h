/* One element type (each_type.h). Included by gru.c. */
#include "recurrent_body.h"

/* With u = h_{t-1} w_hh^T + b_hh:
 *     r, z = sigmoid(a + u),  n = tanh(a_n + r u_n),  h_t = (1 - z) n + z h_{t-1} */
BPX_CLONES static void FN(forward_gates)(const FN(State) *s, const FN(Block) *b, int64_t t,
                                         const A *input, int64_t next) {
    const int64_t units = s->units;
    for (int64_t row = 0; row < b->count; row++) {
        const int64_t at = t * s->batch + b->first + row;
        T *restrict states = s->y_made + at * units;
        T *restrict gates = s->gates_made + at * 4 * units;
        if (t >= b->steps[row]) {
            FN(past)(states, units, b->steps[row] >= 0);
            FN(past)(gates, 4 * units, 1);
            continue;
        }
        const A *restrict a = input + row * next, *restrict u = b->sums + row * b->wide;
        A *restrict h = b->h + row * units;
#pragma omp simd
        for (int64_t i = 0; i < units; i++) {
            const A r = SIGMOID(a[i] + u[i]), z = SIGMOID(a[units + i] + u[units + i]);
            const A u_n = u[2 * units + i], n = TANH(a[2 * units + i] + r * u_n);
            h[i] = (1 - z) * n + z * h[i];
            states[i] = STORE(h[i]);
            gates[i] = STORE(r);
            gates[units + i] = STORE(z);
            gates[2 * units + i] = STORE(n);
            gates[3 * units + i] = STORE(u_n);
        }
    }
}

/* With g the gradient of h_t:
 *     da_n = g (1 - z) (1 - n^2)                  du_n = da_n r
 *     da_z = du_z = g (h_{t-1} - n) z (1 - z)     da_r = du_r = da_n u_n r (1 - r)
 * and g z flows back to h_{t-1} beside du w_hh: it is what the sums start from. Without du, da has du_n
 * behind da_n, and may stand where the gates do. */
BPX_CLONES static void FN(backward_gates)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t units = s->units, step = s->batch * units;
    const int joined = s->du == NULL;
    for (int64_t row = 0; row < b->count; row++) {
        const int64_t at = t * s->batch + b->first + row;
        A *da = s->da + at * (joined ? 4 : 3) * units;
        A *du = joined ? da : s->du + at * 3 * units, *du_n = joined ? da + 3 * units : du + 2 * units;
        A *restrict dh = b->sums + row * b->wide;
        if (t >= b->steps[row]) {
            for (int64_t i = 0; i < 3 * units; i++) da[i] = du[i] = 0;
            for (int64_t i = 0; i < units; i++) du_n[i] = 0;
            continue;
        }
        const A *restrict start = s->h0 + (b->first + row) * units;
        const T *restrict dy = s->dy + at * units, *restrict y = s->y + at * units;
        const T *restrict before = t > 0 ? y - step : y;
        const T *gates = s->gates + at * 4 * units;
#pragma omp simd
        for (int64_t i = 0; i < units; i++) {
            const A r = LOAD(gates[i]), z = LOAD(gates[units + i]);
            const A n = LOAD(gates[2 * units + i]), u_n = LOAD(gates[3 * units + i]);
            const A old = LOAD(before[i]), h = t > 0 ? old : start[i];
            const A g = LOAD(dy[i]) + dh[i];
            const A da_n = g * (1 - z) * (1 - n * n), da_z = g * (h - n) * z * (1 - z);
            const A da_r = da_n * u_n * r * (1 - r);
            da[i] = du[i] = da_r;
            da[units + i] = du[units + i] = da_z;
            da[2 * units + i] = da_n;
            du_n[i] = da_n * r;
            dh[i] = g * z;
        }
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(Block) b = FN(block)(s, chunk, s->rows);
    memcpy(b.h, s->h0 + b.first * s->units, (size_t)(b.count * s->units) * sizeof(A));
    for (int64_t t = 0; t < s->steps; t++) {
        for (int64_t row = 0; row < b.count; row++) {
            A *sums = b.sums + row * b.wide;
            const size_t bytes = (size_t)s->rows * sizeof(A);
            if (s->bias == NULL) {
                memset(sums, 0, bytes);
            } else {
                memcpy(sums, s->bias, bytes);
            }
        }
        FN(recur)(s, &b);
        int64_t next;
        const A *a = FN(input)(s, &b, t, &next);
        FN(forward_gates)(s, &b, t, a, next);
    }
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(Block) b = FN(block)(s, chunk, s->units);
    for (int64_t t = s->steps - 1; t >= 0; t--) {
        const int joined = s->du == NULL;
        const int64_t next = joined ? 4 * s->units : s->rows, row = (t * s->batch + b.first) * next;
        const A *du = joined ? s->da + row : s->du + row, *du_n = du + (joined ? 3 : 2) * s->units;
        FN(backward_gates)(s, &b, t);
        if (s->packed == NULL) continue;
        FN(bpx_product_part)(b.count, s->units, 2 * s->units, du, next, 1, s->packed, s->rows, b.sums,
                             b.wide);
        FN(bpx_product_part)(b.count, s->units, s->units, du_n, next, 1,
                             s->packed + 2 * s->units * (BPX_PANEL / (int64_t)sizeof(A)), s->rows,
                             b.sums, b.wide);
        FN(unproject)(s, &b, t, next);
    }
    for (int64_t row = 0; row < b.count; row++)
        memcpy(s->dh0 + (b.first + row) * s->units, b.sums + row * b.wide,
               (size_t)s->units * sizeof(A));
}

typedef struct {
    const A *a, *h0, *w_hh, *b_hh, *w_ih, *b_ih; /* without w_hh, b_ih is u */
    const void *lengths;
    T *y, *gates;
    int64_t steps, batch, units, bytes, ins;
} FN(Forward);

BPX_EXPORT int FN(bpx_gru_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.a = c->a, .h0 = c->h0, .bias = c->b_hh, .lengths = c->lengths};
    s.w_ih = c->w_ih, s.b_ih = c->b_ih, s.u = c->b_ih, s.ins = c->ins;
    s.y_made = c->y, s.gates_made = c->gates;
    s.steps = c->steps, s.batch = c->batch, s.units = c->units, s.bytes = c->bytes;
    s.rows = 3 * s.units;
    return FN(walk)(&s, FN(forward_task), c->w_hh, s.rows, s.units, s.units, 1, parallel, host);
}

typedef struct {
    const T *dy, *y, *gates;
    const A *h0, *w_hh, *w_ih; /* without w_hh, what flows through du is not in dh0 */
    const void *lengths;
    A *da, *du, *dh0;
    T *dx; /* made where w_ih is given */
    int64_t steps, batch, units, bytes, ins;
} FN(Backward);

BPX_EXPORT int FN(bpx_gru_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.dy = c->dy, .y = c->y, .gates = c->gates, .h0 = c->h0, .lengths = c->lengths};
    s.da = c->da, s.du = c->du, s.dh0 = c->dh0, s.dx = c->dx, s.w_ih = c->w_ih, s.ins = c->ins;
    s.steps = c->steps, s.batch = c->batch, s.units = c->units, s.bytes = c->bytes;
    s.rows = 3 * s.units;
    return FN(walk)(&s, FN(backward_task), c->w_hh, s.units, s.rows, 1, s.units, parallel, host);
}
