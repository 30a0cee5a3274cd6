/* One step of an optimizer over many tensors: rows, their step counts, and chunks across them.
 *
 * Every element is read and written once, by arithmetic that looks at no other element, so the bits
 * depend neither on the chunks nor on the threads. Maths and sources: bpx/optimizers. */
#ifndef BPX_OPTIMIZER_STEPS_H
#define BPX_OPTIMIZER_STEPS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { BPX_STEP_STATES = 3, BPX_STEP_NUMBERS = 10, BPX_STEP_FACTORS = 4 };

/* What a kernel is called with. `table` has columns of `tensors` entries each: parameters, gradients,
 * three state arrays (NULL where there are fewer), step counts, numbers of elements. A count is a
 * float or a double of `count_bytes` (0: none), and is advanced. `flags` are the BPX_STEP_ bits. */
typedef struct {
    const int64_t *table;
    int64_t tensors, count_bytes, flags;
    double numbers[BPX_STEP_NUMBERS];
} bpx_step;

enum {
    BPX_STEP_MAXIMIZE = 1,      /* climb: the gradient's sign is turned */
    BPX_STEP_DECOUPLED = 2,     /* the decay moves the parameter, not the gradient */
    BPX_STEP_NESTEROV = 4,
    BPX_STEP_LR_INSIDE = 8,     /* the momentum holds steps, not gradients */
    BPX_STEP_EPS_INSIDE = 16,   /* eps under the root */
    BPX_STEP_AMSGRAD = 32,
    BPX_STEP_CORRECTED = 64,    /* the maximum is taken of the corrected moment */
    BPX_STEP_EPS_HAT = 128,     /* eps beside the root of the uncorrected moment */
    BPX_STEP_CENTERED = 256,
    BPX_STEP_MOMENTUM = 512,
    BPX_STEP_EPS_OUTSIDE = 1024 /* Adamax: eps beside the maximum, not in it */
};

/* One tensor, and the numbers of its step, which follow from its count. */
typedef struct {
    char *p;
    const char *g;
    char *state[BPX_STEP_STATES];
    int64_t first; /* elements in the rows before it */
    int64_t elements;
    double factors[BPX_STEP_FACTORS];
} bpx_row;

typedef void (*bpx_factors)(const bpx_step *step, bpx_row *row, double t);
typedef void (*bpx_span)(const bpx_step *step, const bpx_row *row, int64_t first, int64_t last);

typedef struct {
    const bpx_step *step;
    const bpx_row *rows;
    bpx_span span;
    int64_t elements, chunks;
} bpx_stepping;

static inline double bpx_counted(const bpx_step *step, int64_t address) {
    if (step->count_bytes == 8) return *(double *)address += 1;
    if (step->count_bytes == 4) return *(float *)address += 1;
    return 0;
}

/* The elements of one chunk, row by row. */
static void bpx_step_task(void *state, int64_t chunk) {
    const bpx_stepping *s = state;
    const int64_t begin = bpx_first_row(chunk, s->chunks, s->elements);
    const int64_t end = bpx_first_row(chunk + 1, s->chunks, s->elements);
    int64_t low = 0, high = s->step->tensors - 1; /* the last row that starts at begin or before */
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (s->rows[middle].first <= begin) low = middle;
        else high = middle - 1;
    }
    for (int64_t i = low; i < s->step->tensors && s->rows[i].first < end; i++) {
        const bpx_row *row = s->rows + i;
        const int64_t first = begin > row->first ? begin - row->first : 0;
        const int64_t last = end - row->first < row->elements ? end - row->first : row->elements;
        if (first < last) s->span(s->step, row, first, last);
    }
}

static inline int bpx_step_all(const void *call, bpx_parallel_for parallel, void *host,
                               bpx_factors factors, bpx_span span) {
    const bpx_step *step = call;
    const int64_t n = step->tensors, *table = step->table;
    bpx_row *rows = malloc((size_t)(n > 0 ? n : 1) * sizeof *rows);
    if (rows == NULL) return 1;
    int64_t total = 0;
    double before = -1; /* the last row's count: powers of equal counts are not taken again */
    for (int64_t i = 0; i < n; i++) {
        bpx_row *row = rows + i;
        row->p = (char *)table[i];
        row->g = (const char *)table[n + i];
        for (int k = 0; k < BPX_STEP_STATES; k++) row->state[k] = (char *)table[(2 + k) * n + i];
        row->first = total;
        row->elements = table[(3 + BPX_STEP_STATES) * n + i];
        total += row->elements;
        const double t = bpx_counted(step, table[(2 + BPX_STEP_STATES) * n + i]);
        if (t == before) memcpy(row->factors, row[-1].factors, sizeof row->factors);
        else factors(step, row, t);
        before = t;
    }
    bpx_stepping s = {.step = step, .rows = rows, .span = span, .elements = total};
    s.chunks = bpx_chunks(total, 1);
    bpx_run(parallel, host, s.chunks, bpx_step_task, &s);
    free(rows);
    return 0;
}

#endif
