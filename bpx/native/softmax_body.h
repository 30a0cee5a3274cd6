/* One element type (each_type.h). Included by softmax.c. */
#include "rows_body.h"
#include "turn_body.h"

typedef struct {
    const T *x, *dy; /* x is y in the backward */
    T *out;          /* y or dx */
    int64_t outer, axis, inner, units, chunks;
    int logarithm;
} FN(State);

BPX_CLONES static void FN(softmax_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    const int past = bpx_streams_rows(s->out, s->x, s->outer, n * (int64_t)sizeof(T));
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * n;
        T *restrict y = s->out + row * n;
        const A top = FN(row_top)(x, n);
        A mass = 0;
        if (s->logarithm) {
            BPX_SUM(mass, i, n, MATH(bpx_exp)(LOAD(x[i]) - top))
            const A log_mass = MATH(bpx_log)(mass);
            BPX_STREAM_ROW(past, y, n, STORE((LOAD(x[i]) - top) - log_mass))
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
            BPX_STREAM_ROW(past, y, n, STORE(MATH(bpx_exp)(LOAD(x[i]) - top) * share))
        }
    }
    if (past) bpx_streamed();
}

/* dx = y (dy - sum(dy y)), or dy - e^y sum(dy) for the logarithm */
BPX_CLONES static void FN(gradient_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    const int past = bpx_streams_rows(s->out, s->dy, s->outer, n * (int64_t)sizeof(T));
    for (int64_t row = first; row < last; row++) {
        const T *restrict y = s->x + row * n, *restrict dy = s->dy + row * n;
        T *restrict dx = s->out + row * n;
        A sum = 0;
        if (s->logarithm) {
            BPX_SUM(sum, i, n, LOAD(dy[i]))
            BPX_STREAM_ROW(past, dx, n, STORE(LOAD(dy[i]) - MATH(bpx_exp)(LOAD(y[i])) * sum))
        } else {
            BPX_SUM(sum, i, n, LOAD(dy[i]) * LOAD(y[i]))
            BPX_STREAM_ROW(past, dx, n, STORE(LOAD(y[i]) * (LOAD(dy[i]) - sum)))
        }
    }
    if (past) bpx_streamed();
}

/* n x lanes elements, `stride` from one to the next of a lane's; y may be x. Sums are taken in blocks of
 * BPX_SHORT elements: the axis may be long, and there are no lanes along it. */
BPX_INLINE void FN(softmax_lanes)(const T *x, T *y, int64_t n, int64_t stride, int64_t lanes,
                                  int logarithm) {
    const int kept = !logarithm && sizeof(T) == sizeof(A) && n < BPX_SHORT; /* y holds e^(x - top) */
    A top[BPX_LANES], mass[BPX_LANES];
    for (int64_t j = 0; j < lanes; j++) top[j] = -(A)INFINITY, mass[j] = 0;
    for (int64_t i = 0; i < n; i++) {
#pragma omp simd
        for (int64_t j = 0; j < lanes; j++) {
            const A v = LOAD(x[i * stride + j]);
            top[j] = v > top[j] ? v : top[j];
        }
    }
    for (int64_t start = 0; start < n; start += BPX_SHORT) {
        const int64_t end = start + BPX_SHORT < n ? start + BPX_SHORT : n;
        A part[BPX_LANES];
        for (int64_t j = 0; j < lanes; j++) part[j] = 0;
        for (int64_t i = start; i < end; i++) {
            const int64_t at = i * stride;
            if (kept) {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++) {
                    const A v = MATH(bpx_exp)(LOAD(x[at + j]) - top[j]);
                    y[at + j] = STORE(v);
                    part[j] += v;
                }
            } else {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++)
                    part[j] += MATH(bpx_exp)(LOAD(x[at + j]) - top[j]);
            }
        }
        for (int64_t j = 0; j < lanes; j++) mass[j] += part[j];
    }
    A end[BPX_LANES];
    if (logarithm) {
#pragma omp simd
        for (int64_t j = 0; j < lanes; j++) end[j] = MATH(bpx_log)(mass[j]);
    } else {
#pragma omp simd
        for (int64_t j = 0; j < lanes; j++) end[j] = 1 / mass[j];
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * stride;
        if (logarithm) {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++)
                y[at + j] = STORE((LOAD(x[at + j]) - top[j]) - end[j]);
        } else if (kept) {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++) y[at + j] = STORE(LOAD(y[at + j]) * end[j]);
        } else {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++)
                y[at + j] = STORE(MATH(bpx_exp)(LOAD(x[at + j]) - top[j]) * end[j]);
        }
    }
}

/* dx = y (dy - sum(dy y)), or dy - e^y sum(dy) for the logarithm; dx may be dy */
BPX_INLINE void FN(gradient_lanes)(const T *y, const T *dy, T *dx, int64_t n, int64_t stride,
                                   int64_t lanes, int logarithm) {
    A sum[BPX_LANES];
    for (int64_t j = 0; j < lanes; j++) sum[j] = 0;
    for (int64_t start = 0; start < n; start += BPX_SHORT) {
        const int64_t end = start + BPX_SHORT < n ? start + BPX_SHORT : n;
        A part[BPX_LANES];
        for (int64_t j = 0; j < lanes; j++) part[j] = 0;
        for (int64_t i = start; i < end; i++) {
            const int64_t at = i * stride;
            if (logarithm) {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++) part[j] += LOAD(dy[at + j]);
            } else {
#pragma omp simd
                for (int64_t j = 0; j < lanes; j++) part[j] += LOAD(dy[at + j]) * LOAD(y[at + j]);
            }
        }
        for (int64_t j = 0; j < lanes; j++) sum[j] += part[j];
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * stride;
        if (logarithm) {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++)
                dx[at + j] = STORE(LOAD(dy[at + j]) - MATH(bpx_exp)(LOAD(y[at + j])) * sum[j]);
        } else {
#pragma omp simd
            for (int64_t j = 0; j < lanes; j++)
                dx[at + j] = STORE(LOAD(y[at + j]) * (LOAD(dy[at + j]) - sum[j]));
        }
    }
}

/* Short rows, BPX_LANES of them turned at a time. */
BPX_CLONES static void FN(softmax_short)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    T turned[BPX_SHORT * BPX_LANES];
    for (int64_t row = first; row < last; row += BPX_LANES) {
        const int64_t rows = last - row < BPX_LANES ? last - row : BPX_LANES;
        FN(turn)(s->x + row * n, turned, n, rows);
        FN(softmax_lanes)(turned, turned, n, BPX_LANES, BPX_LANES, s->logarithm);
        FN(turn_back)(turned, s->out + row * n, n, rows);
    }
}

BPX_CLONES static void FN(gradient_short)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis;
    T y[BPX_SHORT * BPX_LANES], dy[BPX_SHORT * BPX_LANES];
    for (int64_t row = first; row < last; row += BPX_LANES) {
        const int64_t rows = last - row < BPX_LANES ? last - row : BPX_LANES;
        FN(turn)(s->x + row * n, y, n, rows);
        FN(turn)(s->dy + row * n, dy, n, rows);
        FN(gradient_lanes)(y, dy, dy, n, BPX_LANES, BPX_LANES, s->logarithm);
        FN(turn_back)(dy, s->out + row * n, n, rows);
    }
}

/* The same over the middle axis: unit u is BPX_LANES columns of one outer index, or what is left. */
BPX_CLONES static void FN(columns)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t n = s->axis, inner = s->inner, across = (inner + BPX_LANES - 1) / BPX_LANES;
    for (int64_t unit = first; unit < last; unit++) {
        const int64_t start = unit % across * BPX_LANES, at = unit / across * n * inner + start;
        const int64_t lanes = inner - start < BPX_LANES ? inner - start : BPX_LANES;
        if (s->dy == NULL) {
            FN(softmax_lanes)(s->x + at, s->out + at, n, inner, lanes, s->logarithm);
        } else {
            FN(gradient_lanes)(s->x + at, s->dy + at, s->out + at, n, inner, lanes, s->logarithm);
        }
    }
}

static void FN(softmax_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->units);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->units);
    if (s->inner > 1) {
        FN(columns)(s, first, last);
    } else if (bpx_short(s->axis)) {
        (s->dy != NULL ? FN(gradient_short) : FN(softmax_short))(s, first, last);
    } else {
        (s->dy != NULL ? FN(gradient_rows) : FN(softmax_rows))(s, first, last);
    }
}

static void FN(run_softmax)(FN(State) *s, bpx_parallel_for parallel, void *host) {
    const int64_t lanes = s->inner < BPX_LANES ? s->inner : BPX_LANES;
    s->units = s->outer * ((s->inner + BPX_LANES - 1) / BPX_LANES);
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
