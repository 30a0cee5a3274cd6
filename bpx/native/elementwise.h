/* Kernels of functions of one element, forward and backward: one pass over memory.
 *
 * A body (each_type.h) defines y = f(x) and dx = dy f'(x) of each entry,
 *     Y(name) { return ...; }      of x and the options a, b
 *     DX(name) { return ...; }     of dy, x (or what the entry keeps in its place), a and b
 * and lists its kernels:
 *     FORWARD(name)                x -> y
 *     FORWARD_MASK(name)           x -> y, mask: where M(name), of bytes 0 and 1, holds
 *     BACKWARD(name)               dy, x or y -> dx
 *     BACKWARD_MASK(name)          dy, mask -> dx = DX(name) with the mask as m
 * The call is the arrays, then n, a, b. */
#ifndef BPX_ELEMENTWISE_H
#define BPX_ELEMENTWISE_H

#include "core.h"
#include "stream.h"
#include "vector_math.h"

typedef void (*bpx_elements)(const void *call, int64_t first, int64_t last);

typedef struct {
    bpx_elements run;
    const void *call;
    int64_t n, chunks;
} bpx_elements_state;

/* Between chunks at a multiple of 64: vectors do not straddle the cache lines of an aligned array. */
static int64_t bpx_first_element(const bpx_elements_state *s, int64_t chunk) {
    const int64_t first = bpx_first_row(chunk, s->chunks, s->n);
    return chunk == s->chunks ? first : first & ~(int64_t)63;
}

static void bpx_elements_task(void *state, int64_t chunk) {
    const bpx_elements_state *s = state;
    s->run(s->call, bpx_first_element(s, chunk), bpx_first_element(s, chunk + 1));
}

static inline int bpx_run_elements(bpx_elements run, const void *call, int64_t n,
                                   bpx_parallel_for parallel, void *host) {
    bpx_elements_state s = {.run = run, .call = call, .n = n, .chunks = bpx_chunks(n, 1)};
    bpx_run(parallel, host, s.chunks, bpx_elements_task, &s);
    return 0;
}

#define Y(name) BPX_INLINE A FN(name##_y)(A x, BPX_MAYBE A a, BPX_MAYBE A b)
#define M(name) BPX_INLINE int FN(name##_m)(A x, BPX_MAYBE A a, BPX_MAYBE A b)
#define DX(name) BPX_INLINE A FN(name##_dx)(A dy, A x, BPX_MAYBE A a, BPX_MAYBE A b)
#define DX_MASK(name) BPX_INLINE A FN(name##_dx)(A dy, int m, BPX_MAYBE A a, BPX_MAYBE A b)

/* `fields` are the arrays of the call c, the rest is what is done to elements first ... last - 1. */
#define ELEMENTS(name, fields, ...)                                                                \
    typedef struct {                                                                               \
        fields int64_t n;                                                                          \
        double a, b;                                                                               \
    } FN(name##_call);                                                                             \
    BPX_CLONES static void FN(name##_run)(const void *call, int64_t first, int64_t last) {         \
        const FN(name##_call) *c = call;                                                           \
        BPX_MAYBE const A a = (A)c->a, b = (A)c->b;                                                \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    BPX_EXPORT int FN(bpx_##name)(const void *call, bpx_parallel_for parallel, void *host) {       \
        const FN(name##_call) *c = call;                                                           \
        return bpx_run_elements(FN(name##_run), call, c->n, parallel, host);                       \
    }

#define EACH _Pragma("omp simd") for (int64_t i = first; i < last; i++)

/* Where a few operations an element wait for memory, the next block's lines are asked for before this
 * one is computed: 1 KiB is soon enough for the outer caches and leaves the first level what it has. */
enum { BPX_BLOCK_BYTES = 1024 };

#define FETCH(array) bpx_fetch((array) + end, (array) + next)
#define EACH_OF_BLOCKS(fetch, ...)                                                                 \
    const int64_t block = BPX_BLOCK_BYTES / (int64_t)sizeof(T);                                    \
    for (int64_t begin = first, end; begin < last; begin = end) {                                  \
        end = last - begin < block ? last : begin + block;                                         \
        const int64_t next = last - end < block ? last : end + block;                              \
        fetch;                                                                                     \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++) __VA_ARGS__                      \
    }

/* out[i] = value for each element, past the caches where `out` is that large; `also` is what else is done
 * for element i before. */
#define EACH_TO(out, from, fetch, also, value)                                                     \
    if (bpx_streams(out, from, c->n * (int64_t)sizeof(T))) {                                       \
        BPX_STREAM_BLOCKS(out, first, last, also, value)                                           \
        bpx_streamed();                                                                            \
    }                                                                                              \
    EACH_OF_BLOCKS(fetch, {                                                                        \
        also;                                                                                      \
        out[i] = value;                                                                            \
    })

#define FORWARD(name)                                                                              \
    ELEMENTS(name##_forward, const T *x; T *y;, const T *restrict x = c->x; T *restrict y = c->y;  \
             EACH_TO(y, x, (FETCH(x), FETCH(y)), , STORE(FN(name##_y)(LOAD(x[i]), a, b))))

#define FORWARD_MASK(name)                                                                         \
    ELEMENTS(name##_forward, const T *x; T *y; uint8_t *mask;, const T *restrict x = c->x;         \
             T *restrict y = c->y; uint8_t *restrict mask = c->mask;                               \
             EACH_TO(y, x, (FETCH(x), FETCH(y), FETCH(mask)),                                      \
                     mask[i] = (uint8_t)FN(name##_m)(LOAD(x[i]), a, b),                            \
                     STORE(FN(name##_y)(LOAD(x[i]), a, b))))

#define BACKWARD(name)                                                                             \
    ELEMENTS(name##_backward, const T *dy; const T *kept; T *dx;, const T *restrict dy = c->dy;    \
             const T *restrict kept = c->kept; T *restrict dx = c->dx;                             \
             EACH_TO(dx, dy, (FETCH(dy), FETCH(kept), FETCH(dx)), ,                                \
                     STORE(FN(name##_dx)(LOAD(dy[i]), LOAD(kept[i]), a, b))))

#define BACKWARD_MASK(name)                                                                        \
    ELEMENTS(name##_backward, const T *dy; const uint8_t *mask; T *dx;,                            \
             const T *restrict dy = c->dy; const uint8_t *restrict mask = c->mask;                 \
             T *restrict dx = c->dx;                                                               \
             EACH_TO(dx, dy, (FETCH(dy), FETCH(mask), FETCH(dx)), ,                                \
                     STORE(FN(name##_dx)(LOAD(dy[i]), mask[i], a, b))))

#define BOTH(name) FORWARD(name) BACKWARD(name)

#endif
