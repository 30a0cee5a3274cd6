/* Whether every label is a class or ignored: what a caller asks before a kernel runs. */
#include <stdlib.h>

#include "labels.h"

typedef struct {
    bpx_labels labels;
    int64_t count, chunks;
    unsigned char outside[BPX_MAX_CHUNKS];
} State;

/* Without a branch in the loops, so that they vectorise. */
#define SCAN(type, low)                                                                        \
    for (int64_t i = first; i < last; i++) {                                                   \
        const type v = ((const type *)l->at)[i];                                               \
        outside |= (low | ((int64_t)v >= l->classes)) & !(l->ignores & ((int64_t)v == l->ignored)); \
    }

BPX_CLONES static int scan(const bpx_labels *l, int64_t first, int64_t last) {
    int outside = 0;
    if (l->bytes == 8) {
        SCAN(int64_t, (v < 0))
    } else if (l->bytes == 4) {
        SCAN(int32_t, (v < 0))
    } else {
        SCAN(uint8_t, 0)
    }
    return outside;
}

static void task(void *state, int64_t chunk) {
    State *s = state;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->count);
    s->outside[chunk] = scan(&s->labels, bpx_first_row(chunk, s->chunks, s->count), last) != 0;
}

typedef struct {
    const void *labels;
    int64_t count, bytes, classes, ignores, ignored;
} Call;

/* Returns 1 if a label is outside, 0 if none is. */
BPX_EXPORT int bpx_labels_outside(const void *call, bpx_parallel_for parallel, void *host) {
    const Call *c = call;
    State s = {.labels = {c->labels, c->bytes, c->classes, c->ignores, c->ignored}};
    s.count = c->count, s.chunks = bpx_chunks(c->count, 1);
    bpx_run(parallel, host, s.chunks, task, &s);
    int outside = 0;
    for (int64_t chunk = 0; chunk < s.chunks; chunk++) outside |= s.outside[chunk];
    return outside;
}
