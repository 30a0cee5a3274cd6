#include <stdatomic.h>
#include <stddef.h>

#include "bpx_native.h"

typedef struct {
    bpx_task task;
    void *state;
    int64_t chunks;
    atomic_int_least64_t next;
} Loop;

static void worker(void *data) {
    Loop *loop = data;
    for (;;) {
        int64_t chunk = atomic_fetch_add(&loop->next, 1);
        if (chunk >= loop->chunks) return;
        loop->task(loop->state, chunk);
    }
}

void bpx_openmp_for(void *host, int64_t chunks, bpx_task task, void *state) {
    const bpx_openmp_host *openmp = host;
    unsigned threads = openmp->threads;
    if (threads > chunks) threads = (unsigned)chunks;
    Loop loop = {.task = task, .state = state, .chunks = chunks};
    atomic_init(&loop.next, 0);
    if (threads > 1) {
        openmp->parallel(worker, &loop, threads, 0);  /* returns when every thread has */
    } else {
        worker(&loop);
    }
}
