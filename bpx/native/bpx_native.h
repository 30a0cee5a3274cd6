/* The C interface of the native core.
 *
 * The core owns no threads and knows no framework. A kernel cuts its work into chunks whose number
 * follows from the sizes alone, and hands them to a parallel-for of its host: so the sums are added
 * in one order, and the results are the same bits, whatever the number of threads.
 *
 * Every kernel has one signature. Its arguments lie in a struct of eight-byte fields, declared beside
 * the kernel: pointers to the arrays read, pointers to the arrays written, sizes (int64_t), numbers
 * (double), in this order. Arrays are contiguous; an absent one is NULL. The name of a kernel is
 * bpx_<what>_<type>: f32, f64, or bf16 (its 16 bits in a uint16_t, arithmetic in float). A kernel
 * returns 0, or 1 if memory for its sums could not be allocated.
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

typedef int (*bpx_kernel)(const void *call, bpx_parallel_for parallel, void *host);

/* The parallel-for of a host whose threads are GNU OpenMP's: `parallel` is that library's
 * GOMP_parallel, so the tasks run on the pool that the host already keeps, and `number` its
 * omp_get_thread_num. */
typedef struct {
    void (*parallel)(void (*function)(void *), void *data, unsigned threads, unsigned flags);
    int (*number)(void);
    unsigned threads;
} bpx_openmp_host;
BPX_EXPORT void bpx_openmp_for(void *host, int64_t chunks, bpx_task task, void *state);

/* A digest of the sources that the library was built from. */
BPX_EXPORT const char *bpx_sources(void);

#ifdef __cplusplus
}
#endif

#endif
