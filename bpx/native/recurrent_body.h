/* The walk through the steps, for one element type; included by the bodies of the layers. */

typedef struct {
    const T *dy, *y, *gates;          /* backward: the residuals */
    const A *a, *h0, *c0, *bias;      /* a: x w_ih^T + biases of all steps, */
    const A *w_ih, *b_ih;             /* or, with w_ih, x: then a of some steps at a time is made here;
                                       * backward: with w_ih, dx is */
    const A *u;                       /* forward of one step, without w_hh: h0 w_hh^T (+ b_hh) */
    const void *lengths;              /* integers of `bytes` bytes, or NULL */
    T *y_made, *gates_made, *dx;      /* forward; backward */
    A *da, *du, *dh0, *dc0;           /* backward: gradients of x w_ih^T, of h w_hh^T */
    int64_t steps, batch, units, rows, bytes, relu; /* rows: of w_hh */
    int64_t ins;                                    /* of x */
    A *packed, *packed_ih, *memory;                 /* packed: NULL without w_hh */
    int64_t room;
} FN(State);

/* The sequences of one task, and its work memory: both rows with whole panels. */
typedef struct {
    int64_t first, count, wide; /* wide: from a row of `sums` to the next */
    A *sums, *h, *c, *ahead; /* ahead: a, or dx, of BPX_RECURRENT_AHEAD steps */
    int64_t steps[BPX_RECURRENT_ROWS]; /* -1 for a length that is none */
} FN(Block);

static FN(Block) FN(block)(const FN(State) *s, int64_t chunk, int64_t columns) {
    FN(Block) b = {.first = chunk * BPX_RECURRENT_ROWS};
    const int64_t left = s->batch - b.first;
    b.count = left < BPX_RECURRENT_ROWS ? left : BPX_RECURRENT_ROWS;
    b.wide = bpx_padded(columns, sizeof(A));
    b.sums = s->memory + chunk * s->room;
    b.h = b.sums + BPX_RECURRENT_ROWS * b.wide;
    b.c = b.h + BPX_RECURRENT_ROWS * s->units;
    b.ahead = b.c + BPX_RECURRENT_ROWS * s->units;
    for (int64_t i = 0; i < BPX_RECURRENT_ROWS * (b.wide + 2 * s->units); i++) b.sums[i] = 0;
    for (int64_t r = 0; r < b.count; r++) {
        int64_t steps = s->steps;
        if (s->lengths != NULL)
            steps = s->bytes == 8 ? ((const int64_t *)s->lengths)[b.first + r]
                                  : ((const int32_t *)s->lengths)[b.first + r];
        b.steps[r] = steps < 0 || steps > s->steps ? -1 : steps;
    }
    return b;
}

/* x_t w_ih^T + b_ih of the steps from t on: a panel of w_ih stays in the first-level cache for all of
 * them. */
static void FN(project)(const FN(State) *s, const FN(Block) *b, int64_t t) {
    const int64_t left = s->steps - t, steps = left < BPX_RECURRENT_AHEAD ? left : BPX_RECURRENT_AHEAD;
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A);
    for (int64_t r = 0; r < steps * BPX_RECURRENT_ROWS; r++)
        for (int64_t i = 0; i < b->wide; i++)
            b->ahead[r * b->wide + i] = s->b_ih != NULL && i < s->rows ? s->b_ih[i] : 0;
    for (int64_t i = 0; i < s->rows; i += panel)
        for (int64_t k = 0; k < steps; k++)
            FN(bpx_product)(b->count, s->rows - i < panel ? s->rows - i : panel, s->ins,
                            s->a + ((t + k) * s->batch + b->first) * s->ins, s->ins, 1,
                            s->packed_ih + i * s->ins, b->ahead + k * BPX_RECURRENT_ROWS * b->wide + i,
                            b->wide);
}

/* a of a step and the block's first sequence, in order, and from one sequence to the next. */
static const A *FN(input)(const FN(State) *s, const FN(Block) *b, int64_t t, int64_t *next) {
    *next = s->w_ih == NULL ? s->rows : b->wide;
    if (s->w_ih == NULL) return s->a + (t * s->batch + b->first) * s->rows;
    if (t % BPX_RECURRENT_AHEAD == 0) FN(project)(s, b, t);
    return b->ahead + t % BPX_RECURRENT_AHEAD * BPX_RECURRENT_ROWS * b->wide;
}

/* `sums` hold a of a step, for the product to add to: those made for this walk where they are, else
 * copied to `own`. */
static inline void FN(begin)(const FN(State) *s, FN(Block) *b, A *own, int64_t t) {
    int64_t next;
    const A *a = FN(input)(s, b, t, &next);
    b->sums = s->w_ih == NULL ? own : (A *)a;
    for (int64_t r = 0; r < b->count && s->w_ih == NULL; r++)
        memcpy(own + r * b->wide, a + r * next, (size_t)s->rows * sizeof(A));
}

/* h w_hh^T added to `sums`. */
static void FN(recur)(const FN(State) *s, const FN(Block) *b) {
    if (s->packed != NULL) {
        FN(bpx_product)(b->count, s->rows, s->units, b->h, s->units, 1, s->packed, b->sums, b->wide);
        return;
    }
    for (int64_t r = 0; r < b->count; r++) {
        A *restrict sums = b->sums + r * b->wide;
        const A *restrict u = s->u + (b->first + r) * s->rows;
#pragma omp simd
        for (int64_t i = 0; i < s->rows; i++) sums[i] += u[i];
    }
}

/* dx = da w_ih of the steps from t on, the last that were made; from a row of da to the next. Parts of
 * panels stay in the first-level cache. */
static void FN(unproject)(const FN(State) *s, const FN(Block) *b, int64_t t, int64_t next) {
    if (s->dx == NULL || t % BPX_RECURRENT_AHEAD != 0) return;
    const int64_t left = s->steps - t, steps = left < BPX_RECURRENT_AHEAD ? left : BPX_RECURRENT_AHEAD;
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A), wide = bpx_padded(s->ins, sizeof(A));
    for (int64_t i = 0; i < steps * BPX_RECURRENT_ROWS * wide; i++) b->ahead[i] = 0;
    for (int64_t i = 0; i < s->ins; i += panel)
        for (int64_t part = 0; part < s->rows; part += BPX_RECURRENT_DEPTH)
            for (int64_t k = 0; k < steps; k++)
                FN(bpx_product_part)(
                    b->count, s->ins - i < panel ? s->ins - i : panel,
                    s->rows - part < BPX_RECURRENT_DEPTH ? s->rows - part : BPX_RECURRENT_DEPTH,
                    s->da + ((t + k) * s->batch + b->first) * next + part, next, 1,
                    s->packed_ih + i * s->rows + part * panel, s->rows,
                    b->ahead + k * BPX_RECURRENT_ROWS * wide + i, wide);
    for (int64_t k = 0; k < steps; k++)
        for (int64_t r = 0; r < b->count; r++) {
            const A *restrict from = b->ahead + (k * BPX_RECURRENT_ROWS + r) * wide;
            T *restrict to = s->dx + ((t + k) * s->batch + b->first + r) * s->ins;
            for (int64_t i = 0; i < s->ins; i++) to[i] = STORE(from[i]);
        }
}

/* The task for every block of sequences, with right[k, j] = w_hh[j * column_step + k * depth_step] of
 * the product packed. Without w_hh there is one step, and its products are the caller's: packing costs
 * more than it saves there. */
static int FN(walk)(FN(State) *s, bpx_task task, const A *w_hh, int64_t columns, int64_t depth,
                    int64_t column_step, int64_t depth_step, bpx_parallel_for parallel, void *host) {
    const int64_t chunks = (s->batch + BPX_RECURRENT_ROWS - 1) / BPX_RECURRENT_ROWS;
    const int64_t line = 64 / sizeof(A), wide = bpx_padded(columns, sizeof(A));
    const int64_t packed = w_hh == NULL ? 0 : wide * depth;
    const int back = s->dx != NULL; /* w_ih is read along its rows */
    const int64_t columns_ih = back ? s->ins : s->rows, depth_ih = back ? s->rows : s->ins;
    const int64_t wide_ih = s->w_ih == NULL ? 0 : bpx_padded(columns_ih, sizeof(A));
    s->room = BPX_RECURRENT_ROWS * (wide + 2 * s->units + BPX_RECURRENT_AHEAD * wide_ih);
    s->room = (s->room + line) / line * line;
    const int64_t all = packed + wide_ih * depth_ih + chunks * s->room + line;
    void *memory = malloc((size_t)all * sizeof(A));
    if (memory == NULL) return 1;
    s->packed = (A *)(((uintptr_t)memory + 63) / 64 * 64);
    s->packed_ih = s->packed + packed;
    s->memory = s->packed_ih + wide_ih * depth_ih;
    if (w_hh == NULL) {
        s->packed = NULL;
    } else {
        FN(bpx_pack)(columns, depth, w_hh, column_step, depth_step, s->packed);
    }
    if (s->w_ih != NULL)
        FN(bpx_pack)(columns_ih, depth_ih, s->w_ih, back ? 1 : s->ins, back ? s->ins : 1, s->packed_ih);
    const int64_t each = w_hh == NULL ? BPX_RECURRENT_GATE : s->units;
    const int64_t work = s->steps * s->batch * s->rows * each;
    bpx_run(work < BPX_RECURRENT_SERIAL ? NULL : parallel, host, chunks, task, s);
    free(memory);
    return 0;
}

/* What a sequence has past its end: zeros, or NaN for a length that is none. */
static void FN(past)(T *out, int64_t columns, int known) {
    for (int64_t i = 0; i < columns; i++) out[i] = STORE(known ? 0 : (A)NAN);
}
