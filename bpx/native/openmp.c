#include <stdatomic.h>
#include <stddef.h>

#include "bpx_native.h"

enum { RANGES = 64 };

/* The chunks are cut into a range per thread, in order, as the host cuts its own loops: a thread finds
 * in its cache what it wrote in the call before. One that has done its range helps the others. */
typedef struct {
    _Alignas(64) atomic_int_least64_t next;
    int64_t end;
} Range;

typedef struct {
    bpx_task task;
    void *state;
    int (*number)(void);
    unsigned ranges;
    Range of[RANGES];
} Loop;

static void worker(void *data) {
    Loop *loop = data;
    const unsigned own = (unsigned)loop->number();
    for (unsigned i = 0; i < loop->ranges; i++) {
        Range *range = &loop->of[(own + i) % loop->ranges];
        for (;;) {
            int64_t chunk = atomic_fetch_add(&range->next, 1);
            if (chunk >= range->end) break;
            loop->task(loop->state, chunk);
        }
    }
}

void bpx_openmp_for(void *host, int64_t chunks, bpx_task task, void *state) {
    const bpx_openmp_host *openmp = host;
    unsigned threads = openmp->threads;
    if (threads > chunks) threads = (unsigned)chunks;
    if (threads < 2) {
        for (int64_t chunk = 0; chunk < chunks; chunk++) task(state, chunk);
        return;
    }
    Loop loop = {.task = task, .state = state, .number = openmp->number};
    loop.ranges = threads < RANGES ? threads : RANGES;
    for (unsigned i = 0; i < loop.ranges; i++) {
        atomic_init(&loop.of[i].next, chunks * i / loop.ranges);
        loop.of[i].end = chunks * (i + 1) / loop.ranges;
    }
    openmp->parallel(worker, &loop, threads, 0);  /* returns when every thread has */
}
