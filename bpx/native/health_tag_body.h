/* One element type (each_type.h). Included by health_tag.c. */
#include "sums_body.h"

/* out: the sums of x, then for each unit how many of its values are not zero. x: outer x units x
 * inner; units is 0 where they are not asked for. `bounds`: what is saturated is none, each value
 * farther than `half` from `middle`, or the rows of `columns` values with one over `half`. */
typedef struct {
    const T *x;
    T *same; /* where x may be handed on, in its own place; not touched */
    float *out;
    int64_t elements, outer, units, inner, bounds, columns;
    double up, down, middle, half;
} FN(TagCall);

typedef struct {
    const FN(TagCall) *call;
    int64_t chunks, rows;
    int64_t found[BPX_MAX_CHUNKS];
} FN(TagPass);

BPX_CLONES static int64_t FN(beyond)(const T *restrict x, int64_t elements, A middle, A half) {
    int64_t found = 0;
#pragma omp simd reduction(+ : found)
    for (int64_t i = 0; i < elements; i++) {
        const A apart = LOAD(x[i]) - middle, size = apart < 0 ? -apart : apart;
        found += size > half;
    }
    return found;
}

/* A row with a NaN is not saturated. */
BPX_CLONES static int64_t FN(sure_rows)(const T *restrict x, int64_t rows, int64_t columns, A sure) {
    int64_t found = 0;
    for (int64_t i = 0; i < rows; i++) {
        int over = 0, odd = 0;
        for (int64_t j = 0; j < columns; j++) {
            const A value = LOAD(x[i * columns + j]);
            over |= value > sure;
            odd |= value != value;
        }
        found += over & !odd;
    }
    return found * columns;
}

static void FN(saturated_task)(void *state, int64_t chunk) {
    FN(TagPass) *s = state;
    const FN(TagCall) *c = s->call;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->rows);
    const int64_t rows = bpx_first_row(chunk + 1, s->chunks, s->rows) - first;
    s->found[chunk] = c->bounds == BOUNDED_ROWS
                          ? FN(sure_rows)(c->x + first * c->columns, rows, c->columns, (A)c->half)
                          : FN(beyond)(c->x + first, rows, (A)c->middle, (A)c->half);
}

/* In float: beyond 2^24 it stays there, and all that is asked is whether it is 0. */
BPX_CLONES static void FN(alive_units)(const FN(TagCall) *c, int64_t first, int64_t last) {
    float *restrict out = c->out + SUMS;
    const int64_t inner = c->inner;
    for (int64_t j = first; j < last; j++) out[j] = 0;
    for (int64_t i = 0; i < c->outer; i++) {
        const T *restrict row = c->x + i * c->units * inner;
        if (inner == 1) {
            for (int64_t j = first; j < last; j++) out[j] += LOAD(row[j]) != 0 ? 1.0f : 0.0f;
            continue;
        }
        for (int64_t j = first; j < last; j++) {
            float found = 0;
#pragma omp simd reduction(+ : found)
            for (int64_t k = 0; k < inner; k++) found += LOAD(row[j * inner + k]) != 0 ? 1.0f : 0.0f;
            out[j] += found;
        }
    }
}

static void FN(alive_task)(void *state, int64_t chunk) {
    const FN(TagPass) *s = state;
    FN(alive_units)(s->call, bpx_first_row(chunk, s->chunks, s->rows),
                    bpx_first_row(chunk + 1, s->chunks, s->rows));
}

BPX_EXPORT int FN(bpx_health_tag)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(TagCall) *c = call;
    FN(sums)(c->x, c->elements, c->up, c->down, c->out, parallel, host);
    FN(TagPass) pass = {.call = c};
    if (c->bounds != NO_BOUNDS) {
        const int64_t columns = c->bounds == BOUNDED_ROWS ? c->columns : 1;
        pass.rows = c->elements / columns;
        pass.chunks = bpx_chunks(pass.rows, columns);
        bpx_run(parallel, host, pass.chunks, FN(saturated_task), &pass);
        int64_t found = 0;
        for (int64_t i = 0; i < pass.chunks; i++) found += pass.found[i];
        c->out[SUMS - 1] = (float)found;
    }
    if (c->units > 0) {
        pass.rows = c->units;
        pass.chunks = bpx_chunks(c->units, c->outer * c->inner);
        bpx_run(parallel, host, pass.chunks, FN(alive_task), &pass);
    }
    return 0;
}
