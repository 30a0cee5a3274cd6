/* One element type (each_type.h). Included by affine.c.
 *
 *     y = weight x + bias
 *     dx = weight dy,  dweight = sum(x dy),  dbias = sum(dy) */

typedef struct {
    const T *x, *dy; /* dy is absent in forward */
    const A *weight, *bias;
    T *out;          /* y or dx */
    A *dweight, *dbias;
    int64_t elements;
} FN(Affine);

typedef struct {
    const FN(Affine) *c;
    int64_t chunks, pieces;
    double *sums; /* pieces x 2 */
} FN(State);

BPX_CLONES static void FN(each_piece)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Affine) *c = s->c;
    const A weight = *c->weight, bias = c->bias == NULL ? 0 : *c->bias;
    for (int64_t piece = first; piece < last; piece++) {
        const int64_t from = piece * PIECE;
        const int64_t end = c->elements - from < PIECE ? c->elements : from + PIECE;
        const T *restrict x = c->x, *restrict dy = c->dy;
        T *restrict out = c->out;
        if (dy == NULL) {
#pragma omp simd
            for (int64_t i = from; i < end; i++) out[i] = STORE(weight * LOAD(x[i]) + bias);
            continue;
        }
        A along = 0, sum = 0;
#pragma omp simd reduction(+ : along, sum)
        for (int64_t i = from; i < end; i++) {
            along += LOAD(x[i]) * LOAD(dy[i]);
            sum += LOAD(dy[i]);
        }
        s->sums[2 * piece] = along, s->sums[2 * piece + 1] = sum;
        if (out == NULL) continue;
#pragma omp simd
        for (int64_t i = from; i < end; i++) out[i] = STORE(weight * LOAD(dy[i]));
    }
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(each_piece)(s, bpx_first_row(chunk, s->chunks, s->pieces),
                      bpx_first_row(chunk + 1, s->chunks, s->pieces));
}

BPX_EXPORT int FN(bpx_affine)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Affine) *c = call;
    FN(State) s = {.c = c, .pieces = (c->elements + PIECE - 1) / PIECE};
    s.chunks = bpx_chunks(s.pieces, PIECE);
    if (c->dy != NULL) {
        s.sums = malloc((size_t)(2 * s.pieces) * sizeof(double));
        if (s.sums == NULL) return 1;
    }
    bpx_run(parallel, host, s.chunks, FN(task), &s);
    double total[2] = {0, 0};
    for (int64_t i = 0; i < s.pieces && c->dy != NULL; i++)
        total[0] += s.sums[2 * i], total[1] += s.sums[2 * i + 1];
    if (c->dweight != NULL) *c->dweight = (A)total[0];
    if (c->dbias != NULL) *c->dbias = (A)total[1];
    free(s.sums);
    return 0;
}
