#include "stream.h"

#include <stdatomic.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

static _Atomic int64_t least = 0; /* not asked for yet */

/* Bytes of the largest cache that this core shares, 0 where the processor does not tell. What the C library
 * says is on some processors that of the whole socket, in pieces that a core cannot use. */
static int64_t last_level(void) {
    int64_t most = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    const unsigned leaves[] = {4, 0x8000001d}; /* Intel's, AMD's */
    for (int l = 0; l < 2; l++) {
        unsigned a, b, c, d;
        for (unsigned level = 0; level < 8 && __get_cpuid_count(leaves[l], level, &a, &b, &c, &d); level++) {
            if ((a & 31) == 0) break; /* no more caches */
            const int64_t line = (b & 0xfff) + 1, parts = ((b >> 12) & 0x3ff) + 1, ways = (b >> 22) + 1;
            const int64_t bytes = line * parts * ways * ((int64_t)c + 1);
            if (bytes > most) most = bytes;
        }
    }
#endif
    return most;
}

int64_t bpx_stream_least(void) {
    int64_t bytes = atomic_load_explicit(&least, memory_order_relaxed);
    if (bytes == 0) {
        const int64_t cache = last_level();
        bytes = (cache > 0 ? cache : 32 << 20) / 2;
        atomic_store_explicit(&least, bytes, memory_order_relaxed);
    }
    return bytes;
}

/* For tests, whose arrays are small: from so many bytes on, 0 for the default. Returns the least until now. */
BPX_EXPORT int64_t bpx_stream_from(int64_t bytes) {
    const int64_t before = bpx_stream_least();
    atomic_store_explicit(&least, bytes, memory_order_relaxed);
    return before;
}
