/* What the kernels share: instruction sets, chunks of rows, and the element types. */
#ifndef BPX_CORE_H
#define BPX_CORE_H

#include <stdint.h>
#include <string.h>

#include "bpx_native.h"

/* One function body compiled for several instruction sets, the best chosen when the library loads. */
#if !defined(BPX_NO_CLONES) && defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && !defined(__clang__) && \
    defined(__GNUC__) && __GNUC__ >= 12
#define BPX_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BPX_CLONES
#endif

#define BPX_JOIN_(a, b) a##b
#define BPX_JOIN(a, b) BPX_JOIN_(a, b)

/* An argument that not every function of a family looks at */
#if defined(__GNUC__)
#define BPX_MAYBE __attribute__((unused))
#else
#define BPX_MAYBE
#endif

#if defined(__GNUC__)
#define BPX_INLINE static inline __attribute__((always_inline))
#else
#define BPX_INLINE static inline
#endif

static inline int64_t bpx_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Enough chunks to balance any pool, few enough that the partial sums are cheap to combine, and at
 * least 8192 elements in each, below which handing a chunk to another thread costs more than it. */
enum { BPX_MAX_CHUNKS = 64, BPX_CHUNK_ELEMENTS = 8192 };

static inline int64_t bpx_chunks(int64_t rows, int64_t columns) {
    int64_t chunks = rows * columns / BPX_CHUNK_ELEMENTS;
    if (chunks > BPX_MAX_CHUNKS) chunks = BPX_MAX_CHUNKS;
    if (chunks > rows) chunks = rows;
    return chunks < 1 ? 1 : chunks;
}

/* The first row of a chunk; the rows of chunk c are first(c) ... first(c + 1) - 1. */
static inline int64_t bpx_first_row(int64_t chunk, int64_t chunks, int64_t rows) {
    return rows / chunks * chunk + (chunk < rows % chunks ? chunk : rows % chunks);
}

static inline void bpx_run(bpx_parallel_for parallel, void *host, int64_t chunks, bpx_task task,
                           void *state) {
    if (parallel != NULL && chunks > 1) {
        parallel(host, chunks, task, state);
    } else {
        for (int64_t chunk = 0; chunk < chunks; chunk++) task(state, chunk);
    }
}

/* Whether there are 32 registers of 64 bytes. */
static inline int bpx_many_registers(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") != 0;
#else
    return 0;
#endif
}

BPX_INLINE float bpx_load_f32(float v) { return v; }
BPX_INLINE float bpx_store_f32(float v) { return v; }
BPX_INLINE double bpx_load_f64(double v) { return v; }
BPX_INLINE double bpx_store_f64(double v) { return v; }

BPX_INLINE float bpx_load_bf16(uint16_t v) {
    uint32_t bits = (uint32_t)v << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* To nearest, ties to even; a NaN stays one (rounding its payload up could make it an infinity). */
BPX_INLINE uint16_t bpx_store_bf16(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* Lines that will be read or written soon. */
static inline void bpx_fetch(const void *from, const void *to) {
#if defined(__GNUC__)
    for (const char *line = from; line < (const char *)to; line += 64) __builtin_prefetch(line);
#else
    (void)from, (void)to;
#endif
}

/* As many bytes of the row after this one, asked for before this one is computed: a row of a page or more
 * begins where no processor looks ahead. Of a longer row the rest is in order again. */
enum { BPX_ROW_AHEAD = 8192 };

static inline void bpx_fetch_row(const void *row, int64_t bytes) {
    bpx_fetch(row, (const char *)row + (bytes < BPX_ROW_AHEAD ? bytes : BPX_ROW_AHEAD));
}

#endif
