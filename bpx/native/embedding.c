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

/* Picks by a number of each, those of one number in their order: of number k they are
 * order[first[k]] ... order[first[k + 1] - 1]. */
typedef struct {
    int64_t *of, *order, *first; /* of: the number of a pick, negative for one that is left out */
} bpx_sorted;

/* Room for `picks` numbers below `numbers`; `of` is the caller's to fill in, and to free. */
static int bpx_sort_room(bpx_sorted *s, int64_t picks, int64_t numbers) {
    s->of = malloc((size_t)(2 * picks + numbers + 1) * sizeof(int64_t));
    if (s->of == NULL) return 1;
    s->order = s->of + picks, s->first = s->order + picks;
    return 0;
}

static void bpx_sort(bpx_sorted *s, int64_t picks, int64_t numbers) {
    int64_t *first = s->first, start = 0;
    memset(first, 0, (size_t)(numbers + 1) * sizeof(int64_t));
    for (int64_t at = 0; at < picks; at++)
        if (s->of[at] >= 0) first[s->of[at]]++;
    for (int64_t k = 0; k <= numbers; k++) {
        const int64_t many = first[k];
        first[k] = start, start += many;
    }
    for (int64_t at = 0; at < picks; at++)
        if (s->of[at] >= 0) s->order[first[s->of[at]]++] = at;
    for (int64_t k = numbers; k > 0; k--) first[k] = first[k - 1]; /* where the next began */
    first[0] = 0;
}

#define BODY "embedding_body.h"
#include "each_type.h"

/* The picks by bag. A pick of the row `constant` is in none. */
typedef struct {
    const void *indices, *bags;
    int64_t picks, index_bytes, bag_bytes, count, constant;
    bpx_sorted sorted;
    int outside; /* whether a bag is none of `count` */
} bpx_bags;

static int bpx_sort_by_bag(bpx_bags *s) {
    if (bpx_sort_room(&s->sorted, s->picks, s->count)) return 1;
    for (int64_t at = 0; at < s->picks; at++) {
        const int64_t bag = bpx_index(s->bags, s->bag_bytes, at);
        const int kept =
            s->constant < 0 || bpx_index(s->indices, s->index_bytes, at) != s->constant;
        const int inside = bag >= 0 && bag < s->count;
        s->sorted.of[at] = kept && inside ? bag : -1;
        s->outside |= kept && !inside;
    }
    bpx_sort(&s->sorted, s->picks, s->count);
    return 0;
}

#define BODY "embedding_bag_body.h"
#include "each_type.h"
