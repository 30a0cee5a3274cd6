/* One element type (each_type.h). Included by embedding.c, behind embedding_body.h. */

/* Columns of a bag that are summed at once. */
enum { FN(SUMMED) = 512 };

/* Picks between that which is added and that whose row is asked for: rows lie anywhere in the table. */
enum { FN(AHEAD) = 4 };

typedef struct {
    const T *weight;
    const void *indices, *bags;
    const T *shares; /* or NULL: 1 each */
    T *y;
    int64_t picks, rows, columns, index_bytes, bag_bytes, count, mean, constant;
} FN(BagForward);

typedef struct {
    const FN(BagForward) *c;
    const bpx_bags *bags;
    int64_t chunks;
} FN(BagState);

/* A row of the table, or NULL outside it. */
BPX_INLINE const T *FN(picked)(const FN(BagForward) *c, int64_t at) {
    const int64_t row = bpx_index(c->indices, c->index_bytes, at);
    return row < 0 || row >= c->rows ? NULL : c->weight + row * c->columns;
}

/* y = sum of share row, over their number in a mean, for some bags */
BPX_CLONES static void FN(sum_bags)(const FN(BagState) *s, int64_t from, int64_t to) {
    const FN(BagForward) *c = s->c;
    const int64_t *order = s->bags->sorted.order, *first = s->bags->sorted.first;
    A sum[FN(SUMMED)];
    for (int64_t bag = from; bag < to; bag++) {
        const int64_t last = first[bag + 1], size = last - first[bag];
        const A divisor = c->mean && size > 1 ? (A)size : 1;
        for (int64_t start = 0; start < c->columns; start += FN(SUMMED)) {
            const int64_t left = c->columns - start, wide = left < FN(SUMMED) ? left : FN(SUMMED);
            for (int64_t k = 0; k < wide; k++) sum[k] = s->bags->outside ? (A)NAN : 0;
            for (int64_t i = first[bag]; i < last; i++) {
                const int64_t at = order[i];
                const T *next = i + FN(AHEAD) < last ? FN(picked)(c, order[i + FN(AHEAD)]) : NULL;
                if (next != NULL) bpx_fetch(next + start, next + start + wide);
                const T *row = FN(picked)(c, at);
                if (row == NULL) {
                    for (int64_t k = 0; k < wide; k++) sum[k] = (A)NAN;
                    continue;
                }
                const A share = c->shares == NULL ? 1 : LOAD(c->shares[at]);
                const T *restrict of = row + start;
#pragma omp simd
                for (int64_t k = 0; k < wide; k++) sum[k] += share * LOAD(of[k]);
            }
            T *restrict y = c->y + bag * c->columns + start;
            for (int64_t k = 0; k < wide; k++) y[k] = STORE(sum[k] / divisor);
        }
    }
}

static void FN(sum_bags_task)(void *state, int64_t chunk) {
    const FN(BagState) *s = state;
    FN(sum_bags)(s, bpx_first_row(chunk, s->chunks, s->c->count),
                 bpx_first_row(chunk + 1, s->chunks, s->c->count));
}

BPX_EXPORT int FN(bpx_embedding_bag_forward)(const void *call, bpx_parallel_for parallel,
                                             void *host) {
    const FN(BagForward) *c = call;
    bpx_bags bags = {c->indices, c->bags, c->picks, c->index_bytes, c->bag_bytes, c->count, c->constant};
    if (c->count == 0) return 0;
    if (bpx_sort_by_bag(&bags)) return 1;
    FN(BagState) s = {.c = c, .bags = &bags};
    s.chunks = bpx_chunks(c->count, c->columns * (1 + c->picks / c->count));
    bpx_run(parallel, host, s.chunks, FN(sum_bags_task), &s);
    free(bags.sorted.of);
    return 0;
}

typedef struct {
    const T *dy, *weight;
    const void *indices, *bags;
    const T *shares;
    A *dweight, *dshares;
    int64_t picks, rows, columns, index_bytes, bag_bytes, count, mean, constant;
} FN(BagBackward);

typedef struct {
    const FN(BagBackward) *c;
    const bpx_bags *bags;
    A *scale; /* share, over the number in its bag in a mean */
    int64_t chunks;
} FN(SharesState);

/* dshare[n] = row[n] dy[bag of n], over the number in the bag in a mean */
BPX_CLONES static void FN(share_gradients)(const FN(SharesState) *s, int64_t from, int64_t to) {
    const FN(BagBackward) *c = s->c;
    for (int64_t at = from; at < to; at++) {
        const int64_t bag = s->bags->sorted.of[at], *first = s->bags->sorted.first;
        const int64_t row = bpx_index(c->indices, c->index_bytes, at);
        A divisor = 1, sum = bag < 0 ? 0 : (A)NAN;
        if (bag >= 0 && c->mean) divisor = (A)(first[bag + 1] - first[bag]);
        s->scale[at] = (c->shares == NULL ? 1 : LOAD(c->shares[at])) / divisor;
        if (c->dshares == NULL) continue;
        if (bag >= 0 && row >= 0 && row < c->rows) {
            const T *restrict w = c->weight + row * c->columns, *restrict dy = c->dy + bag * c->columns;
            sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t k = 0; k < c->columns; k++) sum += LOAD(w[k]) * LOAD(dy[k]);
        }
        c->dshares[at] = sum / divisor;
    }
}

static void FN(share_gradients_task)(void *state, int64_t chunk) {
    const FN(SharesState) *s = state;
    FN(share_gradients)(s, bpx_first_row(chunk, s->chunks, s->c->picks),
                        bpx_first_row(chunk + 1, s->chunks, s->c->picks));
}

BPX_EXPORT int FN(bpx_embedding_bag_backward)(const void *call, bpx_parallel_for parallel,
                                              void *host) {
    const FN(BagBackward) *c = call;
    bpx_bags bags = {c->indices, c->bags, c->picks, c->index_bytes, c->bag_bytes, c->count, c->constant};
    A *scale = malloc((size_t)(c->picks + 1) * sizeof(A));
    if (scale == NULL) return 1;
    if (bpx_sort_by_bag(&bags)) {
        free(scale);
        return 1;
    }
    FN(SharesState) s = {.c = c, .bags = &bags, .scale = scale};
    s.chunks = bpx_chunks(c->picks, c->dshares == NULL ? 1 : c->columns);
    bpx_run(parallel, host, s.chunks, FN(share_gradients_task), &s);
    int status = 0;
    if (c->dweight != NULL) {
        const FN(Backward) table = {c->dy,   c->indices, c->dweight,     c->picks,
                                    c->rows, c->columns, c->index_bytes, c->constant};
        FN(BackwardState) rows = {.c = &table, .bags = bags.sorted.of, .scale = scale};
        status = FN(table_backward)(&rows, parallel, host);
    }
    free(bags.sorted.of);
    free(scale);
    return status;
}
