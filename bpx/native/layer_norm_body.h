/* One element type (each_type.h). Included by layer_norm.c.
 *
 * The rounding of mu to A shifts every centred value of a row by the same amount, which is large
 * beside a small deviation on a large mean. The mean of the centred values is that shift: it is
 * summed along the way and taken off (the corrected two-pass algorithm, Chan, Golub and LeVeque,
 * "Algorithms for computing the sample variance", 1983, equation 1.7). */

typedef struct {
    const T *x, *dy;
    const A *weight, *bias;
    T *out;               /* y or dx */
    A *mu, *rstd;
    A *dweight, *dbias;   /* chunks x columns of partial sums */
    int64_t rows, columns, chunks;
    A eps;
} FN(State);

BPX_CLONES static void FN(forward_rows)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t columns = s->columns;
    const A *restrict weight = s->weight, *restrict bias = s->bias;
    const int64_t bytes = columns * (int64_t)sizeof(T);
    const int past = bpx_streams_rows(s->out, s->x, s->rows, bytes);
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * columns;
        T *restrict y = s->out + row * columns;
        if (row + 1 < last) bpx_fetch_row(x + columns, bytes);
        A sum = 0, shift = 0, square = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < columns; i++) sum += LOAD(x[i]);
        const A mu = sum / (A)columns;
#pragma omp simd reduction(+ : shift)
        for (int64_t i = 0; i < columns; i++) shift += LOAD(x[i]) - mu;
        shift /= (A)columns;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < columns; i++) {
            const A centred = LOAD(x[i]) - mu - shift;
            square += centred * centred;
        }
        /* 0 * square: an infinite sum is NaN from here on, where 1 / inf would make zeros of it */
        const A rstd = 1 / SQRT(square / (A)columns + s->eps) + 0 * square;
        s->mu[row] = mu;
        s->rstd[row] = rstd;
        BPX_STREAM_ROW(past, y, columns,
                       STORE((LOAD(x[i]) - mu - shift) * rstd * weight[i] + bias[i]))
    }
    if (past) bpx_streamed();
}

/* With g = dy * weight, the gradient of xhat:
 *     dx = rstd * (g                       through xhat itself
 *                  - mean(g)               through mu
 *                  - xhat * mean(g xhat))  through rstd
 *     dweight = sum over rows of dy * xhat,  dbias = sum over rows of dy */
BPX_CLONES static void FN(backward_rows)(const FN(State) *s, int64_t first, int64_t last,
                                                  A *restrict dweight, A *restrict dbias) {
    const int64_t columns = s->columns;
    const A *restrict weight = s->weight;
    const int64_t bytes = columns * (int64_t)sizeof(T);
    const int past = bpx_streams_rows(s->out, s->dy, s->rows, bytes);
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->x + row * columns;
        const T *restrict dy = s->dy + row * columns;
        const A mu = s->mu[row], rstd = s->rstd[row];
        if (row + 1 < last) {
            bpx_fetch_row(x + columns, bytes);
            bpx_fetch_row(dy + columns, bytes);
        }
        A shift = 0, g_mean = 0, gx_mean = 0;
#pragma omp simd reduction(+ : shift, g_mean, gx_mean)
        for (int64_t i = 0; i < columns; i++) {
            const A xhat = (LOAD(x[i]) - mu) * rstd;
            const A g = LOAD(dy[i]) * weight[i];
            shift += xhat;
            g_mean += g;
            gx_mean += g * xhat;
        }
        shift /= (A)columns;
        g_mean /= (A)columns;
        gx_mean = gx_mean / (A)columns - shift * g_mean;
        if (s->out != NULL) {
            T *restrict dx = s->out + row * columns;
            BPX_STREAM_ROW(past, dx, columns,
                           STORE(rstd * (LOAD(dy[i]) * weight[i] - g_mean -
                                         ((LOAD(x[i]) - mu) * rstd - shift) * gx_mean)))
        }
        if (dweight != NULL) {
#pragma omp simd
            for (int64_t i = 0; i < columns; i++)
                dweight[i] += LOAD(dy[i]) * ((LOAD(x[i]) - mu) * rstd - shift);
        }
        if (dbias != NULL) {
#pragma omp simd
            for (int64_t i = 0; i < columns; i++) dbias[i] += LOAD(dy[i]);
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
    A *dbias = s->dbias == NULL ? NULL : s->dbias + chunk * s->columns;
    for (int64_t i = 0; i < s->columns; i++) {
        if (dweight != NULL) dweight[i] = 0;
        if (dbias != NULL) dbias[i] = 0;
    }
    FN(backward_rows)(s, bpx_first_row(chunk, s->chunks, s->rows),
                               bpx_first_row(chunk + 1, s->chunks, s->rows), dweight, dbias);
}

typedef struct {
    const T *x;
    const A *weight, *bias;
    T *y;
    A *mu, *rstd;
    int64_t rows, columns;
    double eps;
} FN(Forward);

BPX_EXPORT int FN(bpx_layer_norm_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    const int64_t columns = c->columns;
    A *absent = NULL;  /* ones for the weight, then zeros for the bias */
    if (c->weight == NULL || c->bias == NULL) {
        absent = malloc(2 * (size_t)columns * sizeof(A));
        if (absent == NULL) return 1;
        for (int64_t i = 0; i < columns; i++) absent[i] = 1, absent[columns + i] = 0;
    }
    FN(State) s = {.x = c->x, .out = c->y, .mu = c->mu, .rstd = c->rstd};
    s.rows = c->rows, s.columns = columns;
    s.weight = c->weight != NULL ? c->weight : absent;
    s.bias = c->bias != NULL ? c->bias : absent + columns;
    s.eps = (A)c->eps;
    s.chunks = bpx_chunks(s.rows, columns);
    bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    free(absent);
    return 0;
}

typedef struct {
    const T *dy, *x;
    const A *weight, *mu, *rstd;
    T *dx;
    A *dweight, *dbias;
    int64_t rows, columns;
} FN(Backward);

BPX_EXPORT int FN(bpx_layer_norm_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    const int64_t columns = c->columns;
    const int64_t chunks = bpx_chunks(c->rows, columns), partial = chunks * columns;
    A *memory = malloc((size_t)(2 * partial + columns) * sizeof(A));
    if (memory == NULL) return 1;
    A *ones = memory + 2 * partial;
    for (int64_t i = 0; i < columns; i++) ones[i] = 1;
    FN(State) s = {.x = c->x, .dy = c->dy, .out = c->dx, .chunks = chunks};
    s.rows = c->rows, s.columns = columns;
    s.mu = (A *)c->mu, s.rstd = (A *)c->rstd;  /* only read */
    s.weight = c->weight != NULL ? c->weight : ones;
    s.dweight = c->dweight != NULL ? memory : NULL;
    s.dbias = c->dbias != NULL ? memory + partial : NULL;
    bpx_run(parallel, host, chunks, FN(backward_task), &s);
    for (int which = 0; which < 2; which++) {
        A *restrict total = which == 0 ? c->dweight : c->dbias;
        const A *restrict sums = which == 0 ? s.dweight : s.dbias;
        if (total == NULL) continue;
        memcpy(total, sums, (size_t)columns * sizeof(A));
        for (int64_t chunk = 1; chunk < chunks; chunk++)
            for (int64_t i = 0; i < columns; i++) total[i] += sums[chunk * columns + i];
    }
    free(memory);
    return 0;
}
