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

BPX_INLINE void bpx_stream(void *to, const void *block) {
#if defined(__x86_64__) && defined(__GNUC__)
    __m128i *out = to;
    const __m128i *in = block;
    for (int i = 0; i < BPX_STREAM_BYTES / 16; i++) _mm_stream_si128(out + i, _mm_load_si128(in + i));
#else
    memcpy(to, block, BPX_STREAM_BYTES);
#endif
}

/* Behind the last one, before another thread is told. */
static inline void bpx_streamed(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    _mm_sfence();
#endif
}

#endif
