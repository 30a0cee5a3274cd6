/* Results so large that the caches lose them before anybody reads them are written past the caches: a store
 * into a line that no cache holds reads it from memory first. From a block in the first-level cache, short,
 * so that one block's stores run beside the next one's loads. */
#ifndef BPX_STREAM_H
#define BPX_STREAM_H

#include <stdint.h>
#include <string.h>

#include "core.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <emmintrin.h>
#endif

enum { BPX_STREAM_BYTES = 256 };

/* The least bytes of a result that is written so: half of the last-level cache. */
int64_t bpx_stream_least(void);

/* Whether a result of so many bytes is; `from` is what its elements are made of, and not written over so. */
static inline int bpx_streams(const void *to, const void *from, int64_t bytes) {
#if defined(__x86_64__) && defined(__GNUC__)
    return to != from && (uintptr_t)to % 16 == 0 && bytes >= bpx_stream_least();
#else
    (void)to, (void)from, (void)bytes;
    return 0;
#endif
}

/* Whether a result of rows of so many bytes is, each beginning at 16 bytes. */
static inline int bpx_streams_rows(const void *to, const void *from, int64_t rows, int64_t bytes) {
    return bytes % 16 == 0 && bpx_streams(to, from, rows * bytes);
}

BPX_INLINE void bpx_stream(void *to, const void *block) {
#if defined(__x86_64__) && defined(__GNUC__)
    __m128i *out = to;
    const __m128i *in = block;
    for (int i = 0; i < BPX_STREAM_BYTES / 16; i++) _mm_stream_si128(out + i, _mm_load_si128(in + i));
#else
    memcpy(to, block, BPX_STREAM_BYTES);
#endif
}

/* out[i] = value, past the caches, for whole blocks of elements begin ... end - 1; `begin` is where the rest
 * does. `also` is what else is done for element i before. T is the element (each_type.h). */
#define BPX_STREAM_BLOCKS(out, begin, end, also, value)                                            \
    for (; (end) - begin >= BPX_STREAM_BYTES / (int64_t)sizeof(T);                                 \
         begin += BPX_STREAM_BYTES / (int64_t)sizeof(T)) {                                         \
        _Alignas(64) T ready[BPX_STREAM_BYTES / sizeof(T)];                                        \
        _Pragma("omp simd") for (int64_t k = 0; k < BPX_STREAM_BYTES / (int64_t)sizeof(T); k++) {  \
            const int64_t i = begin + k;                                                           \
            also;                                                                                  \
            ready[k] = value;                                                                      \
        }                                                                                          \
        bpx_stream((out) + begin, ready);                                                          \
    }

/* A row of them, of `columns` elements. */
#define BPX_STREAM_ROW(past, out, columns, value)                                                  \
    int64_t begin = 0;                                                                             \
    if (past) { BPX_STREAM_BLOCKS(out, begin, columns, , value) }                                  \
    _Pragma("omp simd") for (int64_t i = begin; i < columns; i++) out[i] = value;

/* Behind the last one, before another thread is told. */
static inline void bpx_streamed(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    _mm_sfence();
#endif
}

#endif
