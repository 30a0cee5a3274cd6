/* One element type (each_type.h). Included by dropout.c.
 *
 *     y = x factor where the mask keeps, else 0;  dx is the same of dy
 * One bit decides for `shared` adjacent elements. */

typedef struct {
    const T *x;
    const uint8_t *bits;
    T *y;
    int64_t elements, shared;
    double factor; /* 0: nothing is kept */
} FN(Dropout);

typedef struct {
    const FN(Dropout) *c;
    int64_t chunks;
} FN(DropoutState);

/* Eight elements, from one byte of the mask. */
BPX_INLINE void FN(eight)(const T *restrict x, int bits, A factor, T *restrict y) {
#pragma omp simd
    for (int i = 0; i < 8; i++) {
        const T scaled = STORE(LOAD(x[i]) * factor);
        y[i] = bits & 1 << i ? scaled : 0;
    }
}

BPX_CLONES static void FN(each_element)(const FN(Dropout) *c, int64_t from, int64_t to) {
    const A factor = (A)c->factor;
    const int64_t whole = c->elements / 8, block = BPX_STREAM_BYTES / 8 / (int64_t)sizeof(T);
    if (bpx_streams(c->y, c->x, c->elements * (int64_t)sizeof(T))) {
        for (; bpx_least(whole, to) - from >= block; from += block) {
            _Alignas(64) T ready[BPX_STREAM_BYTES / sizeof(T)];
            for (int64_t i = 0; i < block; i++)
                FN(eight)(c->x + 8 * (from + i), c->bits[from + i], factor, ready + 8 * i);
            bpx_stream(c->y + 8 * from, ready);
        }
        bpx_streamed();
    }
    for (int64_t byte = from; byte < bpx_least(whole, to); byte++)
        FN(eight)(c->x + 8 * byte, c->bits[byte], factor, c->y + 8 * byte);
    for (int64_t i = 8 * whole; whole < to && i < c->elements; i++)
        c->y[i] = c->bits[whole] >> (i & 7) & 1 ? STORE(LOAD(c->x[i]) * factor) : 0;
}

BPX_CLONES static void FN(each_slice)(const FN(Dropout) *c, int64_t from, int64_t to) {
    const A factor = (A)c->factor;
    const int64_t n = c->shared;
    for (int64_t slice = from; slice < to; slice++) {
        const T *restrict x = c->x + slice * n;
        T *restrict y = c->y + slice * n;
        if (c->bits[slice >> 3] >> (slice & 7) & 1) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = STORE(LOAD(x[i]) * factor);
        } else {
            memset(y, 0, (size_t)n * sizeof(T));
        }
    }
}

static void FN(dropout_task)(void *state, int64_t chunk) {
    const FN(DropoutState) *s = state;
    const int64_t n = s->c->elements, shared = s->c->shared;
    const int64_t rows = shared == 1 ? (n + 7) / 8 : n / shared;
    const int64_t from = bpx_first_row(chunk, s->chunks, rows);
    const int64_t to = bpx_first_row(chunk + 1, s->chunks, rows);
    if (shared == 1) {
        FN(each_element)(s->c, from, to);
    } else {
        FN(each_slice)(s->c, from, to);
    }
}

BPX_EXPORT int FN(bpx_dropout)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Dropout) *c = call;
    if (c->factor == 0) {
        memset(c->y, 0, (size_t)c->elements * sizeof(T));
        return 0;
    }
    FN(DropoutState) s = {.c = c};
    s.chunks = c->shared == 1 ? bpx_chunks((c->elements + 7) / 8, 8)
                              : bpx_chunks(c->elements / c->shared, c->shared);
    bpx_run(parallel, host, s.chunks, FN(dropout_task), &s);
    return 0;
}
