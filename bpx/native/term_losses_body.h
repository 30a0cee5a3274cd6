/* One element type (each_type.h). Included by term_losses.c. */
#include "terms_body.h"

typedef struct {
    const T *given[4];
    const T *dy;
    T *y, *out[4];
    double *sums; /* of each chunk, where a sum is wanted */
    int64_t count, chunks;
    A g, o[3];
} FN(State);

/* Where each argument of a block lies; ones for an absent one. */
BPX_INLINE void FN(block)(const FN(State) *s, int64_t at, const T *ones, const T *block[4]) {
    for (int k = 0; k < 4; k++) block[k] = s->given[k] == NULL ? ones : s->given[k] + at;
}

BPX_INLINE void FN(fill_ones)(T *ones) {
    for (int64_t i = 0; i < BLOCK; i++) ones[i] = STORE(1);
}

#define TERM(name) FN(name)(LOAD(x[i]), LOAD(t[i]), LOAD(v[i]), LOAD(w[i]), o)
#define BLOCKS                                                                                 \
    const A o[3] = {s->o[0], s->o[1], s->o[2]};                                                \
    T ones[BLOCK];                                                                             \
    FN(fill_ones)(ones);                                                                       \
    for (int64_t at = first, n; at < last; at += n) {                                          \
        const T *block[4];                                                                     \
        n = last - at < BLOCK ? last - at : BLOCK;                                             \
        FN(block)(s, at, ones, block);                                                         \
        const T *restrict x = block[0], *restrict t = block[1], *restrict v = block[2];        \
        const T *restrict w = block[3];                                                        \
        (void)v, (void)w;

#define SLOPE(k, name)                                                                         \
    if (s->out[k] != NULL) {                                                                   \
        T *restrict d = s->out[k] + at;                                                        \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                    \
            d[i] = STORE(g[i] * TERM(slope##k##_##name));                                      \
    }
#define SLOPES_2(name)                                                                         \
    if (s->out[0] != NULL && s->out[1] != NULL) { /* what they share is computed once */       \
        T *restrict d0 = s->out[0] + at, *restrict d1 = s->out[1] + at;                        \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                  \
            d0[i] = STORE(g[i] * TERM(slope0_##name));                                         \
            d1[i] = STORE(g[i] * TERM(slope1_##name));                                         \
        }                                                                                      \
    } else {                                                                                   \
        SLOPE(0, name)                                                                         \
        SLOPE(1, name)                                                                         \
    }
#define SLOPES_3(name) SLOPES_2(name) SLOPE(2, name)
#define SLOPES_4(name) SLOPES_3(name) SLOPE(3, name)

#define LOSS(name, arguments)                                                                  \
    BPX_CLONES static double FN(values_##name)(const FN(State) *s, int64_t first, int64_t last) { \
        double total = 0;                                                                      \
        BLOCKS                                                                                 \
            if (s->y != NULL) {                                                                \
                T *restrict y = s->y + at;                                                     \
                _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                            \
                    y[i] = STORE(TERM(value_##name));                                          \
            } else {                                                                           \
                A sum = 0;                                                                     \
                _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < n; i++)         \
                    sum += TERM(value_##name);                                                 \
                total += (double)sum;                                                          \
            }                                                                                  \
        }                                                                                      \
        return total;                                                                          \
    }                                                                                          \
    BPX_CLONES static void FN(slopes_##name)(const FN(State) *s, int64_t first, int64_t last) { \
        A g[BLOCK];                                                                            \
        for (int64_t i = 0; i < BLOCK; i++) g[i] = s->g;                                       \
        BLOCKS                                                                                 \
            if (s->dy != NULL)                                                                 \
                for (int64_t i = 0; i < n; i++) g[i] = LOAD(s->dy[at + i]);                    \
            SLOPES_##arguments(name)                                                           \
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
BPX_TERM_LOSSES(LOSS)
#undef LOSS

typedef struct {
    int64_t count, divisor; /* of a sum; 0 where the losses are not summed */
    double options[3];
} FN(Options);

static FN(State) FN(state)(const T *const *given, const FN(Options) *o) {
    FN(State) s = {.given = {given[0], given[1], given[2], given[3]}, .count = o->count};
    s.chunks = bpx_chunks(o->count, 1);
    for (int k = 0; k < 3; k++) s.o[k] = (A)o->options[k];
    return s;
}

typedef struct {
    const T *given[4];
    T *y;
    FN(Options) options;
} FN(Forward);

static int FN(forward)(const void *call, bpx_task task, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    double sums[BPX_MAX_CHUNKS], total = 0;
    FN(State) s = FN(state)(c->given, &c->options);
    s.sums = sums;
    if (c->options.divisor == 0) s.y = c->y;
    bpx_run(parallel, host, s.chunks, task, &s);
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) total += sums[chunk];
    if (s.y == NULL) *c->y = STORE((A)(total / (double)c->options.divisor));
    return 0;
}

typedef struct {
    const T *dy, *given[4];
    T *out[4];
    FN(Options) options;
} FN(Backward);

static int FN(backward)(const void *call, bpx_task task, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = FN(state)(c->given, &c->options);
    for (int k = 0; k < 4; k++) s.out[k] = c->out[k];
    if (c->options.divisor == 0) s.dy = c->dy;
    if (c->options.divisor != 0) s.g = LOAD(*c->dy) / (A)c->options.divisor;
    bpx_run(parallel, host, s.chunks, task, &s);
    return 0;
}

#define LOSS(name, arguments)                                                                  \
    BPX_EXPORT int FN(bpx_##name##_forward)(const void *call, bpx_parallel_for parallel,       \
                                            void *host) {                                      \
        return FN(forward)(call, FN(values_task_##name), parallel, host);                      \
    }                                                                                          \
    BPX_EXPORT int FN(bpx_##name##_backward)(const void *call, bpx_parallel_for parallel,      \
                                             void *host) {                                     \
        return FN(backward)(call, FN(slopes_task_##name), parallel, host);                     \
    }
BPX_TERM_LOSSES(LOSS)
#undef LOSS
#undef TERM
#undef BLOCKS
#undef SLOPE
#undef SLOPES_2
#undef SLOPES_3
#undef SLOPES_4
