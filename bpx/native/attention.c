/* Attention, forward and backward. Maths, shapes and source: bpx/layers/attention.py.
 *
 * Blocks of queries and keys: a block of scores lives in cache between the products that make and use
 * it. Forward tasks own blocks of queries of a head; backward tasks own a key head with its query
 * heads, so that every gradient has one owner. Blocks that causal or window hide wholly are left out. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core.h"
#include "product.h"
#include "vector_math.h"

/* Where queries see no later keys, blocks are taken in strips, each with the keys that it sees. */
enum { BPX_QUERIES = 64, BPX_KEYS = 128, BPX_STRIP = 16 };

#define EXP(x) (sizeof(A) == 8 ? (A)bpx_exp_f64((double)(x)) : (A)bpx_exp_f32((float)(x)))
#define LOG(x) (sizeof(A) == 8 ? (A)bpx_log_f64((double)(x)) : (A)bpx_log_f32((float)(x)))
#define TANH(x) (sizeof(A) == 8 ? (A)bpx_tanh_f64((double)(x)) : (A)bpx_tanh_f32((float)(x)))

/* From one batch, head and row of an array to the next; the last axis has no gaps. */
typedef struct {
    int64_t batch, head, row;
} bpx_steps;

/* Sizes and options, in the order in which both calls end. `left` and `right`: how far a query sees,
 * or at least the number of queries and keys; `mask_steps`: 0 where it has size 1. Forward looks at the
 * first four steps alone. */
typedef struct {
    int64_t batch, heads, key_heads, queries, keys, features, columns, left, right, capped;
    int64_t mask_steps[4];
    bpx_steps query, key, value, y, dy, dquery, dkey, dvalue;
    double scale, softcap;
} bpx_attention_sizes;

static inline int64_t bpx_most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Where a row of a head, counted over the batches, begins. */
static inline int64_t bpx_row(const bpx_steps *s, int64_t head, int64_t heads, int64_t row) {
    return head / heads * s->batch + head % heads * s->head + row * s->row;
}

#define BODY "attention_body.h"
#include "each_type.h"
