/* One element type (each_type.h). Included by attention.c. */

typedef struct {
    bpx_attention_sizes n;
    const T *query, *key, *value, *dy, *out;
    const A *top, *mass;
    const uint8_t *mask;
    T *y;
    A *top_made, *mass_made, *dquery, *dkey, *dvalue;
    A *packed;                 /* forward: keys and values of all key heads */
    int64_t wide, tall, room;  /* features and columns with whole panels; of one key head in packed */
    int64_t blocks, chunks, task_failed;
} FN(State);

/* The keys that a block of queries may see: whole blocks. */
BPX_INLINE int64_t FN(first_key)(const FN(State) *s, int64_t i0) {
    return bpx_most(0, i0 - s->n.left) / BPX_KEYS * BPX_KEYS;
}

BPX_INLINE int64_t FN(end_key)(const FN(State) *s, int64_t i1) {
    return bpx_least(s->n.keys, i1 + s->n.right);
}

/* `rows` rows of x, `step` apart, times `factor` in the arithmetic type, without gaps. */
BPX_CLONES static void FN(widen)(int64_t rows, int64_t columns, const T *x, int64_t step, A factor,
                                 A *to) {
    if (step == columns) columns *= rows, rows = 1;
    for (int64_t i = 0; i < rows; i++) {
        const T *restrict row = x + i * step;
        A *restrict made = to + i * columns;
        for (int64_t c = 0; c < columns; c++) made[c] = LOAD(row[c]) * factor;
    }
}

/* From the products q k^T to scores, -inf where a query does not see a key; slope: of the softcap. */
BPX_CLONES static void FN(scores)(const FN(State) *s, int64_t b, int64_t h, int64_t i0, int64_t i1,
                                  int64_t j0, int64_t j1, A *block, A *slopes) {
    const int64_t count = j1 - j0;
    const A none = -(A)INFINITY, cap = (A)s->n.softcap;
    for (int64_t i = i0; i < i1; i++) {
        A *restrict z = block + (i - i0) * BPX_KEYS;
        if (s->n.capped) {
            A *restrict slope = slopes + (i - i0) * BPX_KEYS;
#pragma omp simd
            for (int64_t j = 0; j < count; j++) {
                const A t = TANH(z[j] / cap);
                z[j] = cap * t;
                slope[j] = 1 - t * t;
            }
        }
        if (s->mask != NULL) {
            const int64_t *step = s->n.mask_steps;
            const uint8_t *restrict mask =
                s->mask + b * step[0] + h * step[1] + i * step[2] + j0 * step[3];
            for (int64_t j = 0; j < count; j++) z[j] = mask[j * step[3]] ? z[j] : none;
        }
        const int64_t low = bpx_least(j1, i - s->n.left), high = bpx_most(j0, i + s->n.right + 1);
        for (int64_t j = j0; j < low; j++) z[j - j0] = none;
        for (int64_t j = high; j < j1; j++) z[j - j0] = none;
    }
}

/* One more block of keys: scores become e^(s - m), and what was summed before shrinks to the new m. */
BPX_CLONES static void FN(soften)(int64_t rows, int64_t count, int64_t tall, A *block, A *most,
                                  A *totals, A *sums) {
    for (int64_t i = 0; i < rows; i++) {
        A *restrict z = block + i * BPX_KEYS, *restrict y = sums + i * tall;
        A largest = most[i], total = 0;
#pragma omp simd reduction(max : largest)
        for (int64_t j = 0; j < count; j++) largest = z[j] > largest ? z[j] : largest;
        const A held = largest == -(A)INFINITY ? 0 : largest;
#pragma omp simd reduction(+ : total)
        for (int64_t j = 0; j < count; j++) {
            z[j] = EXP(z[j] - held);
            total += z[j];
        }
        if (most[i] == -(A)INFINITY) { /* nothing was summed before */
            totals[i] = total;
        } else {
            const A shrink = EXP(most[i] - held);
            for (int64_t e = 0; e < tall; e++) y[e] *= shrink;
            totals[i] = totals[i] * shrink + total;
        }
        most[i] = largest;
    }
}

static void FN(forward_block)(const FN(State) *s, int64_t head, int64_t i0, A *memory) {
    const bpx_attention_sizes *n = &s->n;
    const int64_t b = head / n->heads, h = head % n->heads;
    const int64_t i1 = bpx_least(i0 + BPX_QUERIES, n->queries), rows = i1 - i0;
    const A *keys = s->packed + (b * n->key_heads + h / (n->heads / n->key_heads)) * s->room;
    const A *values = keys + bpx_padded(n->keys, sizeof(A)) * n->features;
    A *block = memory, *sums = block + BPX_QUERIES * BPX_KEYS;
    A *q = sums + BPX_QUERIES * s->tall, *slopes = q + BPX_QUERIES * n->features;
    A most[BPX_QUERIES], totals[BPX_QUERIES];
    FN(widen)(rows, n->features, s->query + bpx_row(&n->query, head, n->heads, i0), n->query.row,
              (A)n->scale, q);
    for (int64_t i = 0; i < rows; i++) most[i] = -(A)INFINITY, totals[i] = 0;
    memset(sums, 0, (size_t)(rows * s->tall) * sizeof(A));
    const int64_t end = FN(end_key)(s, i1);
    const int64_t strip = n->right < n->keys ? BPX_STRIP : BPX_QUERIES;
    for (int64_t j0 = FN(first_key)(s, i0); j0 < end; j0 += BPX_KEYS) {
        const int64_t packed = bpx_least(BPX_KEYS, n->keys - j0);
        for (int64_t r = 0; r < rows; r += strip) {
            const int64_t some = bpx_least(strip, rows - r);
            const int64_t j1 = bpx_least(j0 + packed, FN(end_key)(s, i0 + r + some));
            const int64_t seen = j1 - j0;
            if (seen <= 0) continue;
            A *part = block + r * BPX_KEYS, *sum = sums + r * s->tall;
            const size_t width = (size_t)bpx_padded(seen, sizeof(A)) * sizeof(A);
            for (int64_t i = 0; i < some; i++) memset(part + i * BPX_KEYS, 0, width);
            FN(bpx_product)(some, seen, n->features, q + r * n->features, n->features, 1,
                            keys + j0 * n->features, part, BPX_KEYS);
            FN(scores)(s, b, h, i0 + r, i0 + r + some, j0, j1, part, slopes);
            FN(soften)(some, seen, s->tall, part, most + r, totals + r, sum);
            FN(bpx_product_part)(some, n->columns, seen, part, BPX_KEYS, 1, values + j0 * s->tall,
                                 packed, sum, s->tall);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        const A some = totals[i] == 0 ? 1 : totals[i];
        const int64_t row = head * n->queries + i0 + i;
        T *restrict y = s->y + bpx_row(&n->y, head, n->heads, i0 + i);
        for (int64_t e = 0; e < n->columns; e++) y[e] = STORE(sums[i * s->tall + e] / some);
        s->top_made[row] = most[i] == -(A)INFINITY ? 0 : most[i];
        totals[i] = some;
    }
    A *restrict mass = s->mass_made + head * n->queries + i0;
#pragma omp simd
    for (int64_t i = 0; i < rows; i++) mass[i] = LOG(totals[i]);
}

/* Keys and values of one key head, in blocks of keys, as the products read them; for backward as for
 * forward, where `turned` is NULL: the values' columns, and the keys' own columns behind them. */
static void FN(pack_head)(const FN(State) *s, int64_t head, A *keys, A *values, A *turned, A *spare) {
    const bpx_attention_sizes *n = &s->n;
    for (int64_t j0 = 0; j0 < n->keys; j0 += BPX_KEYS) {
        const int64_t count = bpx_least(BPX_KEYS, n->keys - j0);
        FN(widen)(count, n->features, s->key + bpx_row(&n->key, head, n->key_heads, j0), n->key.row, 1,
                  spare);
        FN(bpx_pack)(count, n->features, spare, n->features, 1, keys + j0 * n->features);
        if (turned != NULL)
            FN(bpx_pack)(n->features, count, spare, 1, n->features, turned + j0 * s->wide);
        FN(widen)(count, n->columns, s->value + bpx_row(&n->value, head, n->key_heads, j0),
                  n->value.row, 1, spare);
        if (turned != NULL) {
            FN(bpx_pack)(count, n->columns, spare, n->columns, 1, values + j0 * n->columns);
        } else {
            FN(bpx_pack)(n->columns, count, spare, 1, n->columns, values + j0 * s->tall);
        }
    }
}

static A *FN(aligned)(void *memory) { return (A *)(((uintptr_t)memory + 63) / 64 * 64); }

static void FN(pack_task)(void *state, int64_t head) {
    FN(State) *s = state;
    const int64_t longest = bpx_most(s->n.features, s->n.columns);
    A *spare = malloc((size_t)(BPX_KEYS * longest) * sizeof(A));
    A *keys = s->packed + head * s->room;
    if (spare == NULL) {
        s->task_failed = 1;
        return;
    }
    FN(pack_head)(s, head, keys, keys + bpx_padded(s->n.keys, sizeof(A)) * s->n.features, NULL, spare);
    free(spare);
}

static void FN(forward_task)(void *state, int64_t chunk) {
    FN(State) *s = state;
    const int64_t items = s->n.batch * s->n.heads * s->blocks;
    void *memory = malloc((size_t)(BPX_QUERIES * (2 * BPX_KEYS + s->tall + s->n.features) + 16) *
                          sizeof(A));
    if (memory == NULL) {
        s->task_failed = 1;
        return;
    }
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, items);
    for (int64_t item = bpx_first_row(chunk, s->chunks, items); item < last; item++)
        FN(forward_block)(s, item / s->blocks, item % s->blocks * BPX_QUERIES, FN(aligned)(memory));
    free(memory);
}

typedef struct {
    const T *query, *key, *value;
    const uint8_t *mask;
    T *y;
    A *top, *mass;
    bpx_attention_sizes n;
} FN(Forward);

static FN(State) FN(state)(const bpx_attention_sizes *n) {
    FN(State) s = {.n = *n};
    s.wide = bpx_padded(n->features, sizeof(A));
    s.tall = bpx_padded(n->columns, sizeof(A));
    return s;
}

BPX_EXPORT int FN(bpx_attention_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = FN(state)(&c->n);
    s.query = c->query, s.key = c->key, s.value = c->value, s.mask = c->mask;
    s.y = c->y, s.top_made = c->top, s.mass_made = c->mass;
    s.room = bpx_padded(s.n.keys, sizeof(A)) * s.n.features + s.n.keys * s.tall;
    s.room = (s.room + 15) / 16 * 16;
    void *memory = malloc((size_t)(s.n.batch * s.n.key_heads * s.room + 16) * sizeof(A));
    if (memory == NULL) return 1;
    s.packed = FN(aligned)(memory);
    bpx_run(parallel, host, s.n.batch * s.n.key_heads, FN(pack_task), &s);
    s.blocks = (s.n.queries + BPX_QUERIES - 1) / BPX_QUERIES;
    s.chunks = bpx_chunks(s.n.batch * s.n.heads * s.blocks, BPX_QUERIES * s.n.keys);
    if (!s.task_failed) bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    free(memory);
    return s.task_failed != 0;
}

#include "attention_backward_body.h"
