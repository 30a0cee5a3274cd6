/* One element type (each_type.h). Included by health_parameters.c. */
#include "sums_body.h"
#include "twins_body.h"

/* table: columns of `parameters` entries each: weights, gradients, elements, and the sizes of the
 * first and the last axis, 1 where units are not compared. out, for each: the sums of the weight and
 * of the gradient, and the share of units with a twin. */
typedef struct {
    const int64_t *table;
    float *out;
    int64_t parameters;
    double up, down, close;
} FN(ParametersCall);

BPX_EXPORT int FN(bpx_health_parameters)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(ParametersCall) *c = call;
    const int64_t n = c->parameters;
    for (int64_t i = 0; i < n; i++) {
        const int64_t *entry = c->table + i;
        const T *weight = (const T *)entry[0], *gradient = (const T *)entry[n];
        const int64_t elements = entry[2 * n], first = entry[3 * n], last = entry[4 * n];
        float *out = c->out + (2 * SUMS + 1) * i;
        FN(sums)(weight, elements, c->up, c->down, out, parallel, host);
        FN(sums)(gradient, elements, c->up, c->down, out + SUMS, parallel, host);
        if (FN(twins)(weight, gradient, elements, first, last, c->close, out + 2 * SUMS, parallel,
                      host) != 0)
            return 1;
    }
    return 0;
}

typedef struct {
    const T *x;
    int64_t elements, chunks;
    double squares[BPX_MAX_CHUNKS];
} FN(Norm);

/* NaN where a value is not finite: a square that is too large for a double is inf. */
BPX_CLONES static double FN(squares)(const T *restrict x, int64_t first, int64_t last) {
    double squares = 0, odd = 0;
#pragma omp simd reduction(+ : squares, odd)
    for (int64_t i = first; i < last; i++) {
        const double value = (double)LOAD(x[i]);
        squares += value * value;
        odd += value - value;
    }
    return squares + odd;
}

static void FN(norm_task)(void *state, int64_t chunk) {
    FN(Norm) *s = state;
    s->squares[chunk] = FN(squares)(s->x, bpx_first_row(chunk, s->chunks, s->elements),
                                    bpx_first_row(chunk + 1, s->chunks, s->elements));
}

/* table: arrays, elements. out: the Euclidean norm of each. */
typedef struct {
    const int64_t *table;
    float *out;
    int64_t arrays;
} FN(NormsCall);

BPX_EXPORT int FN(bpx_health_norms)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(NormsCall) *c = call;
    for (int64_t i = 0; i < c->arrays; i++) {
        FN(Norm) s = {.x = (const T *)c->table[i], .elements = c->table[c->arrays + i]};
        s.chunks = bpx_chunks(s.elements, 1);
        bpx_run(parallel, host, s.chunks, FN(norm_task), &s);
        double squares = 0;
        for (int64_t k = 0; k < s.chunks; k++) squares += s.squares[k];
        c->out[i] = (float)sqrt(squares);
    }
    return 0;
}
