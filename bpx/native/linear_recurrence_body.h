/* One element type (each_type.h). Included by linear_recurrence.c. */

typedef struct {
    const T *a, *b;
    const A *h0;
    const T *dy, *h; /* backward: h holds the states that forward gave */
    T *y, *da, *db;
    A *dh0;
    int64_t batch, steps, columns, reverse, blocks, chunks;
} FN(State);

/* Which columns of which batch element an item of work is. */
typedef struct {
    int64_t sequence, edge, width; /* offsets in (batch steps columns) and in (batch columns) */
} FN(Item);

BPX_INLINE FN(Item) FN(item)(const FN(State) *s, int64_t index) {
    const int64_t n = index / s->blocks, from = index % s->blocks * BPX_RECURRENCE_COLUMNS;
    const int64_t left = s->columns - from;
    return (FN(Item)){n * s->steps * s->columns + from, n * s->columns + from,
                      left < BPX_RECURRENCE_COLUMNS ? left : BPX_RECURRENCE_COLUMNS};
}

/* h_t = a_t h_{t-1} + b_t */
BPX_CLONES static void FN(forward_items)(const FN(State) *s, int64_t first, int64_t last) {
    for (int64_t index = first; index < last; index++) {
        const FN(Item) item = FN(item)(s, index);
        A h[BPX_RECURRENCE_COLUMNS];
        for (int64_t i = 0; i < item.width; i++) h[i] = s->h0 == NULL ? 0 : s->h0[item.edge + i];
        for (int64_t step = 0; step < s->steps; step++) {
            const int64_t t = s->reverse ? s->steps - 1 - step : step;
            const int64_t at = item.sequence + t * s->columns;
            const T *restrict a = s->a + at, *restrict b = s->b + at;
            T *restrict y = s->y + at;
#pragma omp simd
            for (int64_t i = 0; i < item.width; i++) {
                h[i] = LOAD(a[i]) * h[i] + LOAD(b[i]);
                y[i] = STORE(h[i]);
            }
        }
    }
}

/* From the end, with g_t = dy_t + a_{t+1} g_{t+1}, the gradient of h_t:
 *     db_t = g_t,  da_t = g_t h_{t-1},  dh0 = a_1 g_1 */
BPX_CLONES static void FN(backward_items)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t ahead = s->reverse ? -s->columns : s->columns;
    for (int64_t index = first; index < last; index++) {
        const FN(Item) item = FN(item)(s, index);
        A through[BPX_RECURRENCE_COLUMNS], start[BPX_RECURRENCE_COLUMNS]; /* a_{t+1} g_{t+1}; h_0 */
        for (int64_t i = 0; i < item.width; i++) {
            through[i] = 0;
            start[i] = s->h0 == NULL ? 0 : s->h0[item.edge + i];
        }
        for (int64_t step = s->steps - 1; step >= 0; step--) {
            const int64_t t = s->reverse ? s->steps - 1 - step : step;
            const int64_t at = item.sequence + t * s->columns;
            const T *restrict a = s->a + at, *restrict dy = s->dy + at;
            if (s->da != NULL) {
                T *restrict da = s->da + at;
                const T *restrict before = s->h + (step > 0 ? at - ahead : at);
#pragma omp simd
                for (int64_t i = 0; i < item.width; i++) {
                    const A h = step > 0 ? LOAD(before[i]) : start[i];
                    da[i] = STORE((LOAD(dy[i]) + through[i]) * h);
                }
            }
            if (s->db != NULL) {
                T *restrict db = s->db + at;
#pragma omp simd
                for (int64_t i = 0; i < item.width; i++)
                    db[i] = STORE(LOAD(dy[i]) + through[i]);
            }
#pragma omp simd
            for (int64_t i = 0; i < item.width; i++)
                through[i] = LOAD(a[i]) * (LOAD(dy[i]) + through[i]);
        }
        if (s->dh0 != NULL)
            for (int64_t i = 0; i < item.width; i++) s->dh0[item.edge + i] = through[i];
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t items = s->batch * s->blocks;
    FN(forward_items)(s, bpx_first_row(chunk, s->chunks, items),
                      bpx_first_row(chunk + 1, s->chunks, items));
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t items = s->batch * s->blocks;
    FN(backward_items)(s, bpx_first_row(chunk, s->chunks, items),
                       bpx_first_row(chunk + 1, s->chunks, items));
}

static void FN(run_items)(FN(State) *s, bpx_task task, bpx_parallel_for parallel, void *host) {
    s->blocks = (s->columns + BPX_RECURRENCE_COLUMNS - 1) / BPX_RECURRENCE_COLUMNS;
    s->chunks = bpx_chunks(s->batch * s->blocks, s->steps * s->columns / s->blocks);
    bpx_run(parallel, host, s->chunks, task, s);
}

typedef struct {
    const T *a, *b;
    const A *h0;
    T *y;
    int64_t batch, steps, columns, reverse;
} FN(Forward);

BPX_EXPORT int FN(bpx_linear_recurrence_forward)(const void *call, bpx_parallel_for parallel,
                                                 void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.a = c->a, .b = c->b, .h0 = c->h0, .y = c->y};
    s.batch = c->batch, s.steps = c->steps, s.columns = c->columns, s.reverse = c->reverse;
    FN(run_items)(&s, FN(forward_task), parallel, host);
    return 0;
}

typedef struct {
    const T *dy, *a;
    const A *h0;
    const T *y;
    T *da, *db;
    A *dh0;
    int64_t batch, steps, columns, reverse;
} FN(Backward);

BPX_EXPORT int FN(bpx_linear_recurrence_backward)(const void *call, bpx_parallel_for parallel,
                                                  void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.a = c->a, .h0 = c->h0, .dy = c->dy, .h = c->y};
    s.da = c->da, s.db = c->db, s.dh0 = c->dh0;
    s.batch = c->batch, s.steps = c->steps, s.columns = c->columns, s.reverse = c->reverse;
    FN(run_items)(&s, FN(backward_task), parallel, host);
    return 0;
}
