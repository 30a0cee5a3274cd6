/* One element type (each_type.h). Included by rope.c. The second of a pair lies `pairs` behind the
 * first, or one behind it with `interleaved`. */

typedef struct {
    const T *x;
    const A *cos, *sin;
    T *y;
    int64_t batch, length, columns, pairs, interleaved;
    double way; /* 1, or -1: back, by the angles of cos and -sin */
} FN(Turn);

typedef struct {
    const FN(Turn) *c;
    int64_t chunks;
} FN(TurnState);

BPX_CLONES static void FN(turn_rows)(const FN(Turn) *c, int64_t first, int64_t last) {
    const int64_t pairs = c->pairs, columns = c->columns;
    const A way = (A)c->way;
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = c->x + row * columns;
        T *restrict y = c->y + row * columns;
        const A *restrict cos = c->cos + row % c->length * pairs;
        const A *restrict sin = c->sin + row % c->length * pairs;
        if (c->interleaved) {
#pragma omp simd
            for (int64_t p = 0; p < pairs; p++) {
                const A x1 = LOAD(x[2 * p]), x2 = LOAD(x[2 * p + 1]), s = way * sin[p];
                y[2 * p] = STORE(x1 * cos[p] - x2 * s);
                y[2 * p + 1] = STORE(x2 * cos[p] + x1 * s);
            }
        } else {
#pragma omp simd
            for (int64_t p = 0; p < pairs; p++) {
                const A x1 = LOAD(x[p]), x2 = LOAD(x[pairs + p]), s = way * sin[p];
                y[p] = STORE(x1 * cos[p] - x2 * s);
                y[pairs + p] = STORE(x2 * cos[p] + x1 * s);
            }
        }
        memcpy(y + 2 * pairs, x + 2 * pairs, (size_t)(columns - 2 * pairs) * sizeof(T));
    }
}

static void FN(turn_task)(void *state, int64_t chunk) {
    const FN(TurnState) *s = state;
    const int64_t rows = s->c->batch * s->c->length;
    FN(turn_rows)(s->c, bpx_first_row(chunk, s->chunks, rows),
                  bpx_first_row(chunk + 1, s->chunks, rows));
}

BPX_EXPORT int FN(bpx_rope_turn)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Turn) *c = call;
    FN(TurnState) s = {.c = c, .chunks = bpx_chunks(c->batch * c->length, c->columns)};
    bpx_run(parallel, host, s.chunks, FN(turn_task), &s);
    return 0;
}

/* dcos = sum(dy1 x1 + dy2 x2),  dsin = sum(dy2 x1 - dy1 x2) over the batch, in its order. */
typedef struct {
    const T *dy, *x;
    A *dcos, *dsin;
    int64_t batch, length, columns, pairs, interleaved;
} FN(Tables);

typedef struct {
    const FN(Tables) *c;
    int64_t chunks;
} FN(TablesState);

BPX_CLONES static void FN(tables_rows)(const FN(Tables) *c, int64_t first, int64_t last) {
    const int64_t pairs = c->pairs;
    for (int64_t t = first; t < last; t++) {
        A *restrict dcos = c->dcos + t * pairs, *restrict dsin = c->dsin + t * pairs;
        memset(dcos, 0, (size_t)pairs * sizeof(A));
        memset(dsin, 0, (size_t)pairs * sizeof(A));
        for (int64_t n = 0; n < c->batch; n++) {
            const T *restrict x = c->x + (n * c->length + t) * c->columns;
            const T *restrict dy = c->dy + (n * c->length + t) * c->columns;
            if (c->interleaved) {
#pragma omp simd
                for (int64_t p = 0; p < pairs; p++) {
                    const A x1 = LOAD(x[2 * p]), x2 = LOAD(x[2 * p + 1]);
                    const A d1 = LOAD(dy[2 * p]), d2 = LOAD(dy[2 * p + 1]);
                    dcos[p] += d1 * x1 + d2 * x2;
                    dsin[p] += d2 * x1 - d1 * x2;
                }
            } else {
#pragma omp simd
                for (int64_t p = 0; p < pairs; p++) {
                    const A x1 = LOAD(x[p]), x2 = LOAD(x[pairs + p]);
                    const A d1 = LOAD(dy[p]), d2 = LOAD(dy[pairs + p]);
                    dcos[p] += d1 * x1 + d2 * x2;
                    dsin[p] += d2 * x1 - d1 * x2;
                }
            }
        }
    }
}

static void FN(tables_task)(void *state, int64_t chunk) {
    const FN(TablesState) *s = state;
    FN(tables_rows)(s->c, bpx_first_row(chunk, s->chunks, s->c->length),
                    bpx_first_row(chunk + 1, s->chunks, s->c->length));
}

BPX_EXPORT int FN(bpx_rope_tables)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Tables) *c = call;
    FN(TablesState) s = {.c = c, .chunks = bpx_chunks(c->length, c->batch * c->columns)};
    bpx_run(parallel, host, s.chunks, FN(tables_task), &s);
    return 0;
}
