/* One element type (each_type.h). Included by softmax.c. */
#include "rows_body.h"

typedef struct {
    const T *x, *dy; /* x is y in the backward */
    T *out;          /* y or dx */
    int64_t outer, axis, inner, units, chunks;
    int logarithm;
} FN(State);

BPX_CLONES static void FN(softmax_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * n;
        T *restrict y = s->out + row * n;
        const A top = FN(row_top)(x, n);
        A mass = 0;
        if (s->logarithm) {
            BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(x[i]) - top))
            const A log_mass = MATH(bpx_log)(mass);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = STORE((LOAD(x[i]) - top) - log_mass);
        } else if (sizeof(T) == sizeof(A)) { /* y holds the exponentials without rounding them */
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = STORE(MATH(bpx_exp)(LOAD(x[i]) - top));
            BPX_SUM(mass, i, n, LOAD(y[i]))
            const A share = 1 / mass;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = STORE(LOAD(y[i]) * share);
        } else {
            BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(x[i]) - top))
            const A share = 1 / mass;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                y[i] = STORE(MATH(bpx_exp)(LOAD(x[i]) - top) * share);
        }
    }
}

/* dx = y (dy - sum(dy y)), or dy - e^y sum(dy) for the logarithm */
BPX_CLONES static void FN(gradient_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    for (int64_t row = first; row < last; row++) {
        const T *restrict y = s->x + row * n, *restrict dy = s->dy + row * n;
        T *restrict dx = s->out + row * n;
        A sum = 0;
        if (s->logarithm) {
            BPX_SUM(sum, i, n, LOAD(dy[i]))
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                dx[i] = STORE(LOAD(dy[i]) - MATH(bpx_exp)(LOAD(y[i])) * sum);
        } else {
            BPX_SUM(sum, i, n, LOAD(dy[i]) * LOAD(y[i]))
#pragma omp simd
            for (int64_t i = 0; i < n; i++) dx[i] = STORE(LOAD(y[i]) * (LOAD(dy[i]) - sum));
        }
    }
}

/* The same over the middle axis: unit u is LANES columns of one outer index, or what is left of them. */
BPX_CLONES static void FN(softmax_columns)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis, inner = s->inner, across = (inner + LANES - 1) / LANES;
    for (int64_t unit = first; unit < last; unit++) {
        const int64_t start = unit % across * LANES, offset = unit / across * n * inner + start;
        const int64_t lanes = inner - start < LANES ? inner - start : LANES;
        const T *x = s->x + offset;
        T *y = s->out + offset;
        A top[LANES];
        double mass[LANES]; /* the axis may be long, and there are no lanes along it */
        for (int64_t j = 0; j < lanes; j++) top[j] = -(A)INFINITY, mass[j] = 0;
        for (int64_t i = 0; i < n; i++) {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++) {
                const A v = LOAD(x[i * inner + j]);
                top[j] = v > top[j] ? v : top[j];
            }
        }
        for (int64_t i = 0; i < n; i++) {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++)
                mass[j] += MATH(bpx_exp)(LOAD(x[i * inner + j]) - top[j]);
        }
        A end[LANES];
        for (int64_t j = 0; j < lanes; j++)
            end[j] = s->logarithm ? MATH(bpx_log)((A)mass[j]) : (A)(1 / mass[j]);
        for (int64_t i = 0; i < n; i++) {
            if (s->logarithm) {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++)
                    y[i * inner + j] = STORE((LOAD(x[i * inner + j]) - top[j]) - end[j]);
            } else {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++)
                    y[i * inner + j] =
                        STORE(MATH(bpx_exp)(LOAD(x[i * inner + j]) - top[j]) * end[j]);
            }
        }
    }
}

BPX_CLONES static void FN(gradient_columns)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis, inner = s->inner, across = (inner + LANES - 1) / LANES;
    for (int64_t unit = first; unit < last; unit++) {
        const int64_t start = unit % across * LANES, offset = unit / across * n * inner + start;
        const int64_t lanes = inner - start < LANES ? inner - start : LANES;
        const T *y = s->x + offset, *dy = s->dy + offset;
        T *dx = s->out + offset;
        double sum[LANES];
        for (int64_t j = 0; j < lanes; j++) sum[j] = 0;
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * inner;
            if (s->logarithm) {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++) sum[j] += LOAD(dy[at + j]);
            } else {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++) sum[j] += LOAD(dy[at + j]) * LOAD(y[at + j]);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * inner;
            if (s->logarithm) {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++)
                    dx[at + j] =
                        STORE(LOAD(dy[at + j]) - MATH(bpx_exp)(LOAD(y[at + j])) * (A)sum[j]);
            } else {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++)
                    dx[at + j] = STORE(LOAD(y[at + j]) * (LOAD(dy[at + j]) - (A)sum[j]));
            }
        }
    }
}

static void FN(softmax_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->units);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->units);
    if (s->inner > 1) {
        (s->dy != NULL ? FN(gradient_columns) : FN(softmax_columns))(s, first, last);
    } else {
        (s->dy != NULL ? FN(gradient_rows) : FN(softmax_rows))(s, first, last);
    }
}

static void FN(run_softmax)(FN(State) *s, bpx_parallel_for parallel, void *host) {
    const int64_t lanes = s->inner < LANES ? s->inner : LANES;
    s->units = s->outer * ((s->inner + LANES - 1) / LANES);
    s->chunks = bpx_chunks(s->units, s->axis * lanes);
    bpx_run(parallel, host, s->chunks, FN(softmax_task), s);
}

typedef struct {
    const T *x;
    T *y;
    int64_t outer, axis, inner, logarithm;
} FN(Forward);

BPX_EXPORT int FN(bpx_softmax_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.x = c->x, .out = c->y, .logarithm = c->logarithm != 0};
    s.outer = c->outer, s.axis = c->axis, s.inner = c->inner;
    FN(run_softmax)(&s, parallel, host);
    return 0;
}

typedef struct {
    const T *dy, *y;
    T *dx;
    int64_t outer, axis, inner, logarithm;
} FN(Backward);

BPX_EXPORT int FN(bpx_softmax_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.x = c->y, .dy = c->dy, .out = c->dx, .logarithm = c->logarithm != 0};
    s.outer = c->outer, s.axis = c->axis, s.inner = c->inner;
    FN(run_softmax)(&s, parallel, host);
    return 0;
}
