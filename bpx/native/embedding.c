/* Rows of a table picked by integers, alone and in bags, forward and backward. Maths, shapes and source:
 * bpx/layers/embedding.py, bpx/layers/embedding_bag.py.
 *
 * Backward: a task owns a chunk of the table's rows. The picks are sorted by chunk first, each chunk's
 * in their order, so that a row's gradients are added in that order. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

/* An index of four or eight bytes. */
BPX_INLINE int64_t bpx_index(const void *indices, int64_t bytes, int64_t at) {
    if (bytes == 4) return ((const int32_t *)indices)[at];
    return ((const int64_t *)indices)[at];
}

#define BODY "embedding_body.h"
#include "each_type.h"

/* The picks of each bag in their order: those of bag b are order[first[b]] ... order[first[b + 1] - 1].
 * A pick of the row `constant` is in none. */
typedef struct {
    const void *indices, *bags;
    int64_t picks, index_bytes, bag_bytes, count, constant;
    int64_t *order, *first;
    int outside; /* whether a bag is none of `count` */
} bpx_bags;

static int64_t bpx_bag_of(const bpx_bags *s, int64_t at) {
    if (s->constant >= 0 && bpx_index(s->indices, s->index_bytes, at) == s->constant) return -1;
    const int64_t bag = bpx_index(s->bags, s->bag_bytes, at);
    return bag < 0 || bag >= s->count ? -2 : bag;
}

/* `order` is to be freed. Without `all` the bags' sizes alone are looked for. */
static int bpx_sort_by_bag(bpx_bags *s, int all) {
    s->order = malloc((size_t)(s->picks + 2 * (s->count + 1)) * sizeof(int64_t));
    if (s->order == NULL) return 1;
    s->first = s->order + s->picks;
    int64_t *next = s->first + s->count + 1;
    memset(s->first, 0, (size_t)(s->count + 1) * sizeof(int64_t));
    for (int64_t at = 0; at < s->picks; at++) {
        const int64_t bag = bpx_bag_of(s, at);
        if (bag >= 0) s->first[bag + 1]++;
        if (bag == -2) s->outside = 1;
    }
    for (int64_t bag = 0; bag < s->count; bag++) s->first[bag + 1] += s->first[bag];
    if (!all) return 0;
    memcpy(next, s->first, (size_t)(s->count + 1) * sizeof(int64_t));
    for (int64_t at = 0; at < s->picks; at++) {
        const int64_t bag = bpx_bag_of(s, at);
        if (bag >= 0) s->order[next[bag]++] = at;
    }
    return 0;
}

#define BODY "embedding_bag_body.h"
#include "each_type.h"
