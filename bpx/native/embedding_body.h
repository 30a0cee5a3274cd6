/* One element type (each_type.h). Included by embedding.c. */

typedef struct {
    const T *weight;
    const void *indices;
    T *y;
    int64_t picks, rows, columns, index_bytes;
} FN(Forward);

typedef struct {
    const FN(Forward) *c;
    int64_t chunks;
} FN(ForwardState);

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(ForwardState) *s = state;
    const FN(Forward) *c = s->c;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, c->picks);
    for (int64_t at = bpx_first_row(chunk, s->chunks, c->picks); at < last; at++) {
        const int64_t row = bpx_index(c->indices, c->index_bytes, at);
        T *y = c->y + at * c->columns;
        if (row >= 0 && row < c->rows) {
            memcpy(y, c->weight + row * c->columns, (size_t)c->columns * sizeof(T));
        } else {
            for (int64_t i = 0; i < c->columns; i++) y[i] = STORE((A)NAN);
        }
    }
}

BPX_EXPORT int FN(bpx_embedding_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(ForwardState) s = {.c = c, .chunks = bpx_chunks(c->picks, c->columns)};
    bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    return 0;
}

typedef struct {
    const T *dy;
    const void *indices;
    A *dweight;
    int64_t picks, rows, columns, index_bytes, constant; /* the row without a gradient, or -1 */
} FN(Backward);

/* With bags, dy has a row for each of them, and a pick adds `scale` times its bag's. */
typedef struct {
    const FN(Backward) *c;
    const int64_t *bags; /* negative where a pick is in none */
    const A *scale;
    int64_t chunks;
    bpx_sorted sorted; /* by chunk */
} FN(BackwardState);

BPX_CLONES static void FN(add_rows)(const FN(BackwardState) *s, int64_t chunk) {
    const FN(Backward) *c = s->c;
    const int64_t columns = c->columns;
    const int64_t from = bpx_first_row(chunk, s->chunks, c->rows);
    const int64_t to = bpx_first_row(chunk + 1, s->chunks, c->rows);
    memset(c->dweight + from * columns, 0, (size_t)((to - from) * columns) * sizeof(A));
    for (int64_t i = s->sorted.first[chunk]; i < s->sorted.first[chunk + 1]; i++) {
        const int64_t at = s->sorted.order[i], row = bpx_index(c->indices, c->index_bytes, at);
        A *restrict sum = c->dweight + row * columns;
        if (s->bags != NULL) {
            const T *restrict dy = c->dy + s->bags[at] * columns;
            const A scale = s->scale[at];
#pragma omp simd
            for (int64_t k = 0; k < columns; k++) sum[k] += scale * LOAD(dy[k]);
            continue;
        }
        const T *restrict dy = c->dy + at * columns;
#pragma omp simd
        for (int64_t k = 0; k < columns; k++) sum[k] += LOAD(dy[k]);
    }
}

static void FN(backward_task)(void *state, int64_t chunk) { FN(add_rows)(state, chunk); }

/* The chunk that holds a row: the inverse of bpx_first_row. -1 for a row without a gradient. */
static int64_t FN(chunk_of)(const FN(BackwardState) *s, int64_t at) {
    const FN(Backward) *c = s->c;
    if (s->bags != NULL && s->bags[at] < 0) return -1;
    const int64_t row = bpx_index(c->indices, c->index_bytes, at);
    if (row < 0 || row >= c->rows || row == c->constant) return -1;
    const int64_t each = c->rows / s->chunks, longer = c->rows % s->chunks;
    if (row < longer * (each + 1)) return row / (each + 1);
    return longer + (row - longer * (each + 1)) / each;
}

static int FN(table_backward)(FN(BackwardState) *s, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = s->c;
    s->chunks = bpx_chunks(c->rows, c->columns);
    if (bpx_sort_room(&s->sorted, c->picks, s->chunks)) return 1;
    for (int64_t at = 0; at < c->picks; at++) s->sorted.of[at] = FN(chunk_of)(s, at);
    bpx_sort(&s->sorted, c->picks, s->chunks);
    bpx_run(parallel, host, s->chunks, FN(backward_task), s);
    free(s->sorted.of);
    return 0;
}

BPX_EXPORT int FN(bpx_embedding_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    FN(BackwardState) s = {.c = call};
    return FN(table_backward)(&s, parallel, host);
}
