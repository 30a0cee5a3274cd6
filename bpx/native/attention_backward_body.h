/* The backward half of attention_body.h. */

/* delta_i = <dy_i, y_i>, the sum over all j of dp_j p_j: one product after the other, as a row of
 * bpx_product is summed, so that dp - delta is 0 where y is the value of one key. */
BPX_CLONES static void FN(dots)(int64_t rows, int64_t e, const A *dy, const T *y, int64_t step,
                                A *delta) {
    enum { SOME = 8 }; /* rows side by side: a sum in order waits for itself */
    for (int64_t first = 0; first < rows; first += SOME) {
        const int64_t some = rows - first < SOME ? rows - first : SOME;
        A sums[SOME] = {0};
        for (int64_t c = 0; c < e; c++)
            for (int64_t i = 0; i < some; i++)
                sums[i] += dy[(first + i) * e + c] * LOAD(y[(first + i) * step + c]);
        for (int64_t i = 0; i < some; i++) delta[first + i] = sums[i];
    }
}

/* Scores to p = e^(s - top - mass), and dp to ds = p (dp - delta), times the slope of the softcap.
 * Where delta is NULL the block has all keys of its rows: y, which is rounded, is not asked. */
BPX_CLONES static void FN(harden)(const FN(State) *s, int64_t rows, int64_t count, const A *top,
                                  const A *mass, const A *delta, A *scores, A *products,
                                  const A *slopes) {
    for (int64_t i = 0; i < rows; i++) {
        A *restrict p = scores + i * BPX_KEYS, *restrict dp = products + i * BPX_KEYS;
        const A *restrict slope = slopes + i * BPX_KEYS;
        const A largest = top[i], rest = mass[i];
        A mean = 0;
#pragma omp simd reduction(+ : mean)
        for (int64_t j = 0; j < count; j++) {
            p[j] = EXP(p[j] - largest - rest);
            mean += p[j] * dp[j];
        }
        if (delta != NULL) mean = delta[i];
        for (int64_t j = 0; j < count; j++) dp[j] = p[j] * (dp[j] - mean);
        if (s->n.capped) {
            for (int64_t j = 0; j < count; j++) dp[j] *= slope[j];
        }
    }
}

/* Work memory of a backward task: what its key head has packed and summed, and a block's parts. */
typedef struct {
    A *keys, *values, *turned, *dkey, *dvalue;
    A *q, *g, *packed_q, *packed_g, *dq, *scores, *products, *slopes;
} FN(Work);

static int64_t FN(work)(const FN(State) *s, A *memory, FN(Work) *w) {
    const bpx_attention_sizes *n = &s->n;
    const int64_t keys = bpx_padded(n->keys, sizeof(A)), block = BPX_QUERIES * BPX_KEYS;
    A **parts[] = {&w->keys, &w->values, &w->turned, &w->dkey, &w->dvalue, &w->q, &w->g,
                   &w->packed_q, &w->packed_g, &w->dq, &w->scores, &w->products, &w->slopes};
    const int64_t longest = BPX_KEYS * bpx_most(s->wide, s->tall); /* q is spare while packing */
    const int64_t sizes[] = {keys * n->features, keys * n->columns, keys * s->wide, keys * s->wide,
                             keys * s->tall, longest, BPX_QUERIES * n->columns,
                             BPX_QUERIES * s->wide, BPX_QUERIES * s->tall, BPX_QUERIES * s->wide,
                             block, block, block};
    int64_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *parts[i] = memory == NULL ? NULL : memory + total;
        total += (sizes[i] + 15) / 16 * 16;
    }
    return total;
}

/* `some` queries from i on, the r-th of their block of `rows`, and the keys j0 to j1 of `packed`. */
static void FN(backward_strip)(const FN(State) *s, const FN(Work) *w, int64_t head, int64_t i,
                               int64_t some, int64_t rows, int64_t r, int64_t j0, int64_t j1,
                               int64_t packed, const A *delta) {
    const bpx_attention_sizes *n = &s->n;
    const int64_t d = n->features, e = n->columns, seen = j1 - j0, row = head * n->queries + i;
    const int64_t panel = BPX_PANEL / (int64_t)sizeof(A);
    const A *q = w->q + r * d, *g = w->g + r * e;
    A *scores = w->scores, *products = w->products, *dq = w->dq + r * s->wide;
    const size_t width = (size_t)bpx_padded(seen, sizeof(A)) * sizeof(A);
    for (int64_t k = 0; k < some; k++) {
        memset(scores + k * BPX_KEYS, 0, width);
        memset(products + k * BPX_KEYS, 0, width);
    }
    FN(bpx_product)(some, seen, d, q, d, 1, w->keys + j0 * d, scores, BPX_KEYS);
    FN(scores)(s, head / n->heads, head % n->heads, i, i + some, j0, j1, scores, w->slopes);
    FN(bpx_product)(some, seen, e, g, e, 1, w->values + j0 * e, products, BPX_KEYS);
    FN(harden)(s, some, seen, s->top + row, s->mass + row, delta, scores, products, w->slopes);
    /* dvalue = p^T dy,  dquery = scale dz key,  dkey = scale dz^T query */
    FN(bpx_product_part)(seen, e, some, scores, 1, BPX_KEYS, w->packed_g + r * panel, rows,
                         w->dvalue + j0 * s->tall, s->tall);
    FN(bpx_product_part)(some, d, seen, products, BPX_KEYS, 1, w->turned + j0 * s->wide, packed, dq,
                         s->wide);
    FN(bpx_product_part)(seen, d, some, products, 1, BPX_KEYS, w->packed_q + r * panel, rows,
                         w->dkey + j0 * s->wide, s->wide);
}

static void FN(backward_block)(const FN(State) *s, const FN(Work) *w, int64_t head, int64_t i0) {
    const bpx_attention_sizes *n = &s->n;
    const int64_t d = n->features, e = n->columns;
    const int64_t i1 = bpx_least(i0 + BPX_QUERIES, n->queries), rows = i1 - i0;
    const int64_t end = FN(end_key)(s, i1);
    A delta[BPX_QUERIES];
    FN(widen)(rows, d, s->query + bpx_row(&n->query, head, n->heads, i0), n->query.row, (A)n->scale,
              w->q);
    FN(widen)(rows, e, s->dy + bpx_row(&n->dy, head, n->heads, i0), n->dy.row, 1, w->g);
    const int64_t start = FN(first_key)(s, i0), whole = end - start <= BPX_KEYS;
    if (!whole)
        FN(dots)(rows, e, w->g, s->out + bpx_row(&n->y, head, n->heads, i0), n->y.row, delta);
    FN(bpx_pack)(d, rows, w->q, 1, d, w->packed_q);
    FN(bpx_pack)(e, rows, w->g, 1, e, w->packed_g);
    memset(w->dq, 0, (size_t)(rows * s->wide) * sizeof(A));
    const int64_t strip = n->right < n->keys ? BPX_STRIP : BPX_QUERIES;
    for (int64_t j0 = start; j0 < end; j0 += BPX_KEYS) {
        const int64_t packed = bpx_least(BPX_KEYS, n->keys - j0);
        for (int64_t r = 0; r < rows; r += strip) {
            const int64_t some = bpx_least(strip, rows - r);
            const int64_t j1 = bpx_least(j0 + packed, FN(end_key)(s, i0 + r + some));
            if (j1 > j0) FN(backward_strip)(s, w, head, i0 + r, some, rows, r, j0, j1, packed,
                                            whole ? NULL : delta + r);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        A *restrict dquery = s->dquery + bpx_row(&n->dquery, head, n->heads, i0 + i);
        for (int64_t c = 0; c < d; c++) dquery[c] = w->dq[i * s->wide + c] * (A)n->scale;
    }
}

static void FN(backward_task)(void *state, int64_t key_head) {
    FN(State) *s = state;
    const bpx_attention_sizes *n = &s->n;
    FN(Work) w;
    void *memory = malloc((size_t)(FN(work)(s, NULL, &w) + 16) * sizeof(A));
    if (memory == NULL) {
        s->task_failed = 1;
        return;
    }
    FN(work)(s, FN(aligned)(memory), &w);
    FN(pack_head)(s, key_head, w.keys, w.values, w.turned, w.q);
    memset(w.dkey, 0, (size_t)(n->keys * s->wide) * sizeof(A));
    memset(w.dvalue, 0, (size_t)(n->keys * s->tall) * sizeof(A));
    const int64_t group = n->heads / n->key_heads;
    for (int64_t head = key_head * group; head < (key_head + 1) * group; head++)
        for (int64_t i0 = 0; i0 < n->queries; i0 += BPX_QUERIES) FN(backward_block)(s, &w, head, i0);
    for (int64_t j = 0; j < n->keys; j++) {
        memcpy(s->dkey + bpx_row(&n->dkey, key_head, n->key_heads, j), w.dkey + j * s->wide,
               (size_t)n->features * sizeof(A));
        memcpy(s->dvalue + bpx_row(&n->dvalue, key_head, n->key_heads, j), w.dvalue + j * s->tall,
               (size_t)n->columns * sizeof(A));
    }
    free(memory);
}

typedef struct {
    const T *dy, *query, *key, *value, *y;
    const A *top, *mass;
    const uint8_t *mask;
    A *dquery, *dkey, *dvalue;
    bpx_attention_sizes n;
} FN(Backward);

BPX_EXPORT int FN(bpx_attention_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = FN(state)(&c->n);
    s.dy = c->dy, s.query = c->query, s.key = c->key, s.value = c->value, s.out = c->y;
    s.top = c->top, s.mass = c->mass, s.mask = c->mask;
    s.dquery = c->dquery, s.dkey = c->dkey, s.dvalue = c->dvalue;
    bpx_run(parallel, host, s.n.batch * s.n.key_heads, FN(backward_task), &s);
    return s.task_failed != 0;
}
