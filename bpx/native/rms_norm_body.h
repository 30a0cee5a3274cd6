/* One element type (each_type.h). Included by rms_norm.c. */

typedef struct {
    const T *x, *dy;
    const A *weight;
    T *out;       /* y or dx */
    A *rstd;
    A *dweight;   /* chunks x columns of partial sums */
    int64_t rows, columns, chunks;
    A eps;
} FN(State);

BPX_CLONES static void FN(forward_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t columns = s->columns;
    const A *restrict weight = s->weight;
    const int past = bpx_streams_rows(s->out, s->x, s->rows, columns * (int64_t)sizeof(T));
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * columns;
        T *restrict y = s->out + row * columns;
        A square = 0;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < columns; i++) square += LOAD(x[i]) * LOAD(x[i]);
        /* 0 * square: an infinite sum is NaN from here on, where 1 / inf would make zeros of it */
        const A rstd = 1 / SQRT(square / (A)columns + s->eps) + 0 * square;
        s->rstd[row] = rstd;
        if (weight != NULL) {
            BPX_STREAM_ROW(past, y, columns, STORE(LOAD(x[i]) * rstd * weight[i]))
        } else {
            BPX_STREAM_ROW(past, y, columns, STORE(LOAD(x[i]) * rstd))
        }
    }
    if (past) bpx_streamed();
}

/* With g = dy * weight, the gradient of xhat = x * rstd:
 *     dx = rstd * (g                       through xhat itself
 *                  - xhat * mean(g xhat))  through rstd
 *     dweight = sum over rows of dy * xhat */
BPX_CLONES static void FN(backward_rows)(const FN(State) *s, int64_t first, int64_t last,
                                         A *restrict dweight) {
    const int64_t columns = s->columns;
    const A *restrict weight = s->weight;
    const int past = bpx_streams_rows(s->out, s->dy, s->rows, columns * (int64_t)sizeof(T));
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * columns;
        const T *restrict dy = s->dy + row * columns;
        const A rstd = s->rstd[row];
        if (s->out != NULL) {
            T *restrict dx = s->out + row * columns;
            A along = 0;
#pragma omp simd reduction(+ : along)
            for (int64_t i = 0; i < columns; i++)
                along += LOAD(dy[i]) * weight[i] * (LOAD(x[i]) * rstd);
            along /= (A)columns;
            BPX_STREAM_ROW(past, dx, columns,
                           STORE(rstd * (LOAD(dy[i]) * weight[i] - LOAD(x[i]) * rstd * along)))
        }
        if (dweight != NULL) {
#pragma omp simd
            for (int64_t i = 0; i < columns; i++) dweight[i] += LOAD(dy[i]) * (LOAD(x[i]) * rstd);
        }
    }
    if (past) bpx_streamed();
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    FN(forward_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                     bpx_first_row(chunk + 1, s->chunks, s->rows));
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    A *dweight = s->dweight == NULL ? NULL : s->dweight + chunk * s->columns;
    for (int64_t i = 0; dweight != NULL && i < s->columns; i++) dweight[i] = 0;
    FN(backward_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                      bpx_first_row(chunk + 1, s->chunks, s->rows), dweight);
}

typedef struct {
    const T *x;
    const A *weight;
    T *y;
    A *rstd;
    int64_t rows, columns;
    double eps;
} FN(Forward);

BPX_EXPORT int FN(bpx_rms_norm_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.x = c->x, .weight = c->weight, .out = c->y, .rstd = c->rstd};
    s.rows = c->rows, s.columns = c->columns, s.eps = (A)c->eps;
    s.chunks = bpx_chunks(s.rows, s.columns);
    bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    return 0;
}

typedef struct {
    const T *dy, *x;
    const A *weight, *rstd;
    T *dx;
    A *dweight;
    int64_t rows, columns;
} FN(Backward);

BPX_EXPORT int FN(bpx_rms_norm_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    const int64_t columns = c->columns, chunks = bpx_chunks(c->rows, columns);
    A *memory = malloc((size_t)((chunks + 1) * columns) * sizeof(A));
    if (memory == NULL) return 1;
    A *ones = memory + chunks * columns;
    for (int64_t i = 0; i < columns; i++) ones[i] = 1;
    FN(State) s = {.x = c->x, .dy = c->dy, .out = c->dx, .rows = c->rows, .columns = columns};
    s.rstd = (A *)c->rstd;  /* only read */
    s.weight = c->weight != NULL ? c->weight : ones;
    s.dweight = c->dweight != NULL ? memory : NULL;
    s.chunks = chunks;
    bpx_run(parallel, host, chunks, FN(backward_task), &s);
    if (c->dweight != NULL) {
        memcpy(c->dweight, memory, (size_t)columns * sizeof(A));
        for (int64_t chunk = 1; chunk < chunks; chunk++)
            for (int64_t i = 0; i < columns; i++) c->dweight[i] += memory[chunk * columns + i];
    }
    free(memory);
    return 0;
}
