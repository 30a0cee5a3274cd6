/* One element type (each_type.h). Included by difference_losses.c. */
#define BPX_DIFFERENCE_LOSSES(LOSS)                                                            \
    LOSS(mse, A, kept)                                                                         \
    LOSS(huber, A, kept)                                                                       \
    LOSS(smooth_l1, A, kept)                                                                   \
    LOSS(l1, int8_t, sign)

/* What is kept of e, and e itself or its sign from it. The sign of NaN is 0. */
BPX_INLINE A FN(keep_kept)(A e) { return e; }
BPX_INLINE A FN(given_kept)(A kept) { return kept; }
BPX_INLINE int8_t FN(keep_sign)(A e) { return (int8_t)(e > 0 ? 1 : (e < 0 ? -1 : 0)); }
BPX_INLINE A FN(given_sign)(int8_t kept) { return (A)kept; }

BPX_INLINE A FN(size)(A e) { return e < 0 ? -e : e; }
BPX_INLINE A FN(sign)(A e) { return e > 0 ? 1 : (e < 0 ? -1 : e); } /* NaN stays */

/* value_<loss>(e, o) and slope_<loss>(e, o), o the option of the loss */
BPX_INLINE A FN(value_mse)(A e, A o) { return o * (e * e); }
BPX_INLINE A FN(slope_mse)(A e, A o) { return 2 * o * e; }
BPX_INLINE A FN(value_l1)(A e, A o) { return (void)o, FN(size)(e); }
BPX_INLINE A FN(slope_l1)(A e, A o) { return (void)o, e; }
BPX_INLINE A FN(value_huber)(A e, A o) {
    const A size = FN(size)(e);
    return size < o ? (A)0.5 * (e * e) : o * (size - (A)0.5 * o);
}
BPX_INLINE A FN(slope_huber)(A e, A o) { return FN(size)(e) < o ? e : o * FN(sign)(e); }
BPX_INLINE A FN(value_smooth_l1)(A e, A o) {
    const A size = FN(size)(e);
    return size < o ? e * e * ((A)0.5 / o) : size - (A)0.5 * o;
}
BPX_INLINE A FN(slope_smooth_l1)(A e, A o) { return FN(size)(e) < o ? e / o : FN(sign)(e); }

typedef struct {
    const T *x, *target, *dy;
    T *y, *dx, *dtarget;
    void *kept;
    double *sums; /* of each chunk, where a sum is wanted */
    int64_t count, chunks;
    A g, o;
} FN(State);

#define LOSS(name, K, how)                                                                     \
    BPX_CLONES static double FN(values_##name)(const FN(State) *s, int64_t first, int64_t last) { \
        const A o = s->o;                                                                      \
        double total = 0;                                                                      \
        for (int64_t at = first, n; at < last; at += n) {                                      \
            n = last - at < BLOCK ? last - at : BLOCK;                                         \
            const T *restrict x = s->x + at, *restrict target = s->target + at;                \
            K *restrict kept = (K *)s->kept + at;                                              \
            A sum = 0;                                                                         \
            _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < n; i++) {           \
                const A e = LOAD(x[i]) - LOAD(target[i]);                                      \
                kept[i] = FN(keep_##how)(e);                                                   \
                sum += FN(value_##name)(e, o);                                                 \
            }                                                                                  \
            total += (double)sum;                                                              \
            if (s->y == NULL) continue;                                                        \
            T *restrict y = s->y + at;                                                         \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                \
                y[i] = STORE(FN(value_##name)(LOAD(x[i]) - LOAD(target[i]), o));               \
        }                                                                                      \
        return total;                                                                          \
    }                                                                                          \
    BPX_CLONES static void FN(slopes_##name)(const FN(State) *s, int64_t first, int64_t last) { \
        const A o = s->o;                                                                      \
        A g[BLOCK];                                                                            \
        for (int64_t i = 0; i < BLOCK; i++) g[i] = s->g;                                       \
        for (int64_t at = first, n; at < last; at += n) {                                      \
            n = last - at < BLOCK ? last - at : BLOCK;                                         \
            const K *restrict kept = (const K *)s->kept + at;                                  \
            if (s->dy != NULL)                                                                 \
                for (int64_t i = 0; i < n; i++) g[i] = LOAD(s->dy[at + i]);                    \
            if (s->dx != NULL) {                                                               \
                T *restrict d = s->dx + at;                                                    \
                _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                            \
                    d[i] = STORE(g[i] * FN(slope_##name)(FN(given_##how)(kept[i]), o));        \
            }                                                                                  \
            if (s->dtarget != NULL) {                                                          \
                T *restrict d = s->dtarget + at;                                               \
                _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                            \
                    d[i] = STORE(-(g[i] * FN(slope_##name)(FN(given_##how)(kept[i]), o)));     \
            }                                                                                  \
        }                                                                                      \
    }                                                                                          \
    static void FN(values_task_##name)(void *state, int64_t chunk) {                           \
        const FN(State) *s = state;                                                            \
        s->sums[chunk] = FN(values_##name)(s, bpx_first_row(chunk, s->chunks, s->count),       \
                                           bpx_first_row(chunk + 1, s->chunks, s->count));     \
    }                                                                                          \
    static void FN(slopes_task_##name)(void *state, int64_t chunk) {                           \
        const FN(State) *s = state;                                                            \
        FN(slopes_##name)(s, bpx_first_row(chunk, s->chunks, s->count),                        \
                          bpx_first_row(chunk + 1, s->chunks, s->count));                      \
    }
BPX_DIFFERENCE_LOSSES(LOSS)
#undef LOSS

typedef struct {
    const T *x, *target;
    T *y;
    void *kept;
    int64_t count, divisor; /* of a sum; 0 where the losses are not summed */
    double option;
} FN(Forward);

static int FN(forward)(const void *call, bpx_task task, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    double sums[BPX_MAX_CHUNKS], total = 0;
    FN(State) s = {.x = c->x, .target = c->target, .kept = c->kept, .sums = sums};
    s.count = c->count, s.chunks = bpx_chunks(c->count, 1), s.o = (A)c->option;
    if (c->divisor == 0) s.y = c->y;
    bpx_run(parallel, host, s.chunks, task, &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) total += sums[chunk];
    if (s.y == NULL) *c->y = STORE((A)(total / (double)c->divisor));
    return 0;
}

typedef struct {
    const T *dy;
    const void *kept;
    T *dx, *dtarget;
    int64_t count, divisor;
    double option;
} FN(Backward);

static int FN(backward)(const void *call, bpx_task task, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.kept = (void *)c->kept, .dx = c->dx, .dtarget = c->dtarget}; /* only read */
    s.count = c->count, s.chunks = bpx_chunks(c->count, 1), s.o = (A)c->option;
    if (c->divisor == 0) s.dy = c->dy;
    if (c->divisor != 0) s.g = LOAD(*c->dy) / (A)c->divisor;
    bpx_run(parallel, host, s.chunks, task, &s);
    return 0;
}

#define LOSS(name, K, how)                                                                     \
    BPX_EXPORT int FN(bpx_##name##_forward)(const void *call, bpx_parallel_for parallel,       \
                                            void *host) {                                      \
        return FN(forward)(call, FN(values_task_##name), parallel, host);                      \
    }                                                                                          \
    BPX_EXPORT int FN(bpx_##name##_backward)(const void *call, bpx_parallel_for parallel,      \
                                             void *host) {                                     \
        return FN(backward)(call, FN(slopes_task_##name), parallel, host);                     \
    }
BPX_DIFFERENCE_LOSSES(LOSS)
#undef LOSS
#undef BPX_DIFFERENCE_LOSSES
