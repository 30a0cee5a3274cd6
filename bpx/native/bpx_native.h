/* The C interface of the native core.
 *
 * The core owns no threads and knows no framework. A kernel cuts its rows into chunks whose number
 * follows from the sizes alone, and hands them to a parallel-for of its host: so the sums are added
 * in one order, and the results are the same bits, whatever the number of threads.
 *
 * Arrays are contiguous and of the kernel's type: f32, f64, or bf16 (its 16 bits in a uint16_t).
 * Statistics, weight, bias, dweight and dbias are float for f32 and bf16, double for f64. A pointer
 * marked "or NULL" may be absent: absent inputs count as 1 (weight) and 0 (bias), absent outputs are
 * not computed. Every function returns 0, or 1 if memory for its sums could not be allocated.
 */
#ifndef BPX_NATIVE_H
#define BPX_NATIVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BPX_EXPORT __attribute__((visibility("default")))
#else
#define BPX_EXPORT
#endif

typedef void (*bpx_task)(void *state, int64_t chunk);

/* Calls task(state, 0) ... task(state, chunks - 1), in any order and on any thread, and returns when
 * all are done. `host` is whatever the host passed along. A NULL bpx_parallel_for means a loop. */
typedef void (*bpx_parallel_for)(void *host, int64_t chunks, bpx_task task, void *state);

/* The parallel-for of a host whose threads are GNU OpenMP's: `parallel` is that library's
 * GOMP_parallel, so the tasks run on the pool that the host already keeps. */
typedef struct {
    void (*parallel)(void (*function)(void *), void *data, unsigned threads, unsigned flags);
    unsigned threads;
} bpx_openmp_host;
BPX_EXPORT void bpx_openmp_for(void *host, int64_t chunks, bpx_task task, void *state);

/* A digest of the sources that the library was built from. */
BPX_EXPORT const char *bpx_sources(void);

/* x, y, dy, dx: rows x columns; mu, rstd: rows; weight, bias, dweight, dbias: columns (1 or more). */
#define BPX_LAYER_NORM(name, T, A)                                                                 \
    BPX_EXPORT int bpx_layer_norm_forward_##name(                                                  \
        const T *x, const A *weight /* or NULL */, const A *bias /* or NULL */, T *y, A *mu,       \
        A *rstd, int64_t rows, int64_t columns, double eps, bpx_parallel_for parallel, void *host); \
    BPX_EXPORT int bpx_layer_norm_backward_##name(                                                 \
        const T *dy, const T *x, const A *weight /* or NULL */, const A *mu, const A *rstd,        \
        T *dx /* or NULL */, A *dweight /* or NULL */, A *dbias /* or NULL */, int64_t rows,       \
        int64_t columns, bpx_parallel_for parallel, void *host);

BPX_LAYER_NORM(f32, float, float)
BPX_LAYER_NORM(f64, double, double)
BPX_LAYER_NORM(bf16, uint16_t, float)

#ifdef __cplusplus
}
#endif

#endif
