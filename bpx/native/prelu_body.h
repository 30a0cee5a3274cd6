/* One element type (each_type.h). Included by prelu.c.
 *
 *     y = x where x > 0, weight x elsewhere
 *     dx = dy where x > 0, weight dy elsewhere,  dweight = sum(x dy where x <= 0) */

typedef struct {
    const T *x, *dy; /* dy is absent in forward */
    const A *weight;
    T *out;          /* y or dx */
    A *dweight;
    int64_t outer, slopes, inner;
} FN(Prelu);

typedef struct {
    const FN(Prelu) *c;
    int64_t chunks, pieces; /* of each stretch of `inner` */
    double *sums;           /* by piece */
    A *rows;                /* chunks x slopes */
} FN(State);

BPX_CLONES static void FN(each_piece)(const FN(State) *s, int64_t first, int64_t last) {
    const FN(Prelu) *c = s->c;
    for (int64_t piece = first; piece < last; piece++) {
        const int64_t row = piece / s->pieces, at = piece % s->pieces * PIECE;
        const int64_t n = c->inner - at < PIECE ? c->inner - at : PIECE;
        const A weight = c->weight[row % c->slopes];
        const T *restrict x = c->x + row * c->inner + at;
        const T *restrict v = (c->dy == NULL ? c->x : c->dy) + row * c->inner + at;
        if (c->out != NULL) {
            T *restrict out = c->out + row * c->inner + at;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const A below = weight * LOAD(v[i]);
                out[i] = STORE(LOAD(x[i]) > 0 ? LOAD(v[i]) : below);
            }
        }
        if (c->dweight == NULL) continue;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) {
            const A along = LOAD(x[i]) * LOAD(v[i]);
            sum += LOAD(x[i]) > 0 ? 0 : along;
        }
        s->sums[piece] = sum;
    }
}

BPX_CLONES static void FN(each_row)(const FN(State) *s, int64_t chunk, int64_t first,
                                    int64_t last) {
    const FN(Prelu) *c = s->c;
    const int64_t n = c->slopes;
    const A *restrict weight = c->weight;
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = c->x + row * n;
        const T *restrict v = (c->dy == NULL ? c->x : c->dy) + row * n;
        if (c->out != NULL) {
            T *restrict out = c->out + row * n;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const A below = weight[i] * LOAD(v[i]);
                out[i] = STORE(LOAD(x[i]) > 0 ? LOAD(v[i]) : below);
            }
        }
        if (c->dweight == NULL) continue;
        A *restrict sum = s->rows + chunk * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const A along = LOAD(x[i]) * LOAD(v[i]);
            sum[i] += LOAD(x[i]) > 0 ? 0 : along;
        }
    }
}

static void FN(task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const FN(Prelu) *c = s->c;
    const int64_t count = c->inner == 1 ? c->outer : c->outer * c->slopes * s->pieces;
    const int64_t first = bpx_first_row(chunk, s->chunks, count);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, count);
    if (c->inner != 1) {
        FN(each_piece)(s, first, last);
        return;
    }
    if (c->dweight != NULL) memset(s->rows + chunk * c->slopes, 0, (size_t)c->slopes * sizeof(A));
    FN(each_row)(s, chunk, first, last);
}

BPX_EXPORT int FN(bpx_prelu)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Prelu) *c = call;
    FN(State) s = {.c = c, .pieces = (c->inner + PIECE - 1) / PIECE};
    const int64_t rows = c->outer * c->slopes, by_row = c->inner == 1;
    s.chunks = by_row ? bpx_chunks(c->outer, c->slopes)
                      : bpx_chunks(rows * s.pieces, c->inner < PIECE ? c->inner : PIECE);
    if (c->dweight != NULL) {
        const int64_t count = by_row ? s.chunks * c->slopes : rows * s.pieces;
        s.sums = malloc((size_t)count * sizeof(double));
        if (s.sums == NULL) return 1;
        s.rows = (A *)s.sums;
    }
    bpx_run(parallel, host, s.chunks, FN(task), &s);
    for (int64_t k = 0; k < c->slopes && c->dweight != NULL; k++) {
        double sum = 0;
        if (by_row)
            for (int64_t chunk = 0; chunk < s.chunks; chunk++) sum += s.rows[chunk * c->slopes + k];
        else
            for (int64_t outer = 0; outer < c->outer; outer++)
                for (int64_t piece = 0; piece < s.pieces; piece++)
                    sum += s.sums[(outer * c->slopes + k) * s.pieces + piece];
        c->dweight[k] = (A)sum;
    }
    free(s.sums);
    return 0;
}
