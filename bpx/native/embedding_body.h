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
    const void *bags;
    const A *scale;
    int64_t bag_bytes, count; /* of the bags */
    int64_t chunks, *first, *order; /* the picks of chunk k: order[first[k]] ... */
} FN(BackwardState);

BPX_CLONES static void FN(add_rows)(const FN(BackwardState) *s, int64_t chunk) {
    const FN(Backward) *c = s->c;
    const int64_t columns = c->columns;
    const int64_t from = bpx_first_row(chunk, s->chunks, c->rows);
    const int64_t to = bpx_first_row(chunk + 1, s->chunks, c->rows);
    memset(c->dweight + from * columns, 0, (size_t)((to - from) * columns) * sizeof(A));
    for (int64_t i = s->first[chunk]; i < s->first[chunk + 1]; i++) {
        const int64_t at = s->order[i], row = bpx_index(c->indices, c->index_bytes, at);
        A *restrict sum = c->dweight + row * columns;
        if (s->bags != NULL) {
            const T *restrict dy = c->dy + bpx_index(s->bags, s->bag_bytes, at) * columns;
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
    if (s->bags != NULL) {
        const int64_t bag = bpx_index(s->bags, s->bag_bytes, at);
        if (bag < 0 || bag >= s->count) return -1;
    }
    const int64_t row = bpx_index(c->indices, c->index_bytes, at);
    if (row < 0 || row >= c->rows || row == c->constant) return -1;
    const int64_t each = c->rows / s->chunks, longer = c->rows % s->chunks;
    if (row < longer * (each + 1)) return row / (each + 1);
    return longer + (row - longer * (each + 1)) / each;
}

static int FN(table_backward)(FN(BackwardState) *s, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = s->c;
    s->chunks = bpx_chunks(c->rows, c->columns);
    s->order = malloc((size_t)(c->picks + 2 * (s->chunks + 1)) * sizeof(int64_t));
    if (s->order == NULL) return 1;
    s->first = s->order + c->picks;
    int64_t *next = s->first + s->chunks + 1;
    memset(s->first, 0, (size_t)(s->chunks + 1) * sizeof(int64_t));
    for (int64_t at = 0; at < c->picks; at++) {
        const int64_t chunk = FN(chunk_of)(s, at);
        if (chunk >= 0) s->first[chunk + 1]++;
    }
    for (int64_t chunk = 0; chunk < s->chunks; chunk++) s->first[chunk + 1] += s->first[chunk];
    memcpy(next, s->first, (size_t)(s->chunks + 1) * sizeof(int64_t));
    for (int64_t at = 0; at < c->picks; at++) {
        const int64_t chunk = FN(chunk_of)(s, at);
        if (chunk >= 0) s->order[next[chunk]++] = at;
    }
    bpx_run(parallel, host, s->chunks, FN(backward_task), s);
    free(s->order);
    return 0;
}

BPX_EXPORT int FN(bpx_embedding_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    FN(BackwardState) s = {.c = call};
    return FN(table_backward)(&s, parallel, host);
}
