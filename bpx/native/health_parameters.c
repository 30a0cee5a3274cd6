/* Of all parameters in one call, for bpx_jax.health: sums of weight and gradient, the share of units
 * that have a twin, and the norms of the updates. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moments.h"

enum { SUMS = 9, FEW = 8, MIXES = 2 };

typedef struct {
    double key;
    int64_t unit;
} bpx_health_unit;

/* NaN last */
static int by_key(const void *a, const void *b) {
    const double x = ((const bpx_health_unit *)a)->key, y = ((const bpx_health_unit *)b)->key;
    if (x != x || y != y) return (x != x) - (y != y);
    return (x > y) - (x < y);
}

/* Units, as much room to sort them, and one number more than units. */
typedef struct {
    bpx_health_unit *units, *spare;
    int64_t *ends;
} bpx_health_units;

/* Room to sort units in, one allocation; its `units` are NULL where there is no memory. */
static bpx_health_units room(int64_t n) {
    bpx_health_unit *memory =
        malloc((size_t)(2 * n) * sizeof *memory + (size_t)(n + 1) * sizeof(int64_t));
    if (memory == NULL) return (bpx_health_units){NULL, NULL, NULL};
    return (bpx_health_units){memory, memory + n, (int64_t *)(memory + 2 * n)};
}

static void irregular(double *coefficients) {
    for (int k = 0; k < FEW; k++) coefficients[k] = cos(1.0 + 0.83 * k);
}

static int64_t place_of(const bpx_health_units *u, int64_t i, double low, double scale,
                                int64_t n) {
    const int64_t place = (int64_t)((u->spare[i].key - low) * scale);
    return place < n ? place : n - 1; /* rounded up beyond the last */
}

/* By key. The range is cut into as many equal parts as there are units, few of which share one, and
 * what is out of order then is put in order one by one: where keys spread evenly many times faster
 * than qsort, which does the rest. */
static void sort_units(const bpx_health_units *u, int64_t n) {
    double low = INFINITY, high = -INFINITY;
    int64_t moves = 8 * n;
    for (int64_t i = 0; i < n; i++) {
        const double key = u->units[i].key;
        if (key - key != 0) moves = 0;
        low = key < low ? key : low;
        high = key > high ? key : high;
    }
    const double scale = (double)(n - 1) / (high - low);
    if (moves > 0 && scale > 0 && scale - scale == 0) {
        memset(u->ends, 0, (size_t)(n + 1) * sizeof *u->ends);
        memcpy(u->spare, u->units, (size_t)n * sizeof *u->units);
        for (int64_t i = 0; i < n; i++) u->ends[place_of(u, i, low, scale, n) + 1]++;
        for (int64_t i = 0; i < n; i++) u->ends[i + 1] += u->ends[i];
        for (int64_t i = 0; i < n; i++)
            u->units[u->ends[place_of(u, i, low, scale, n)]++] = u->spare[i];
        for (int64_t i = 1; i < n && moves > 0; i++) {
            const bpx_health_unit unit = u->units[i];
            int64_t at = i;
            for (; at > 0 && u->units[at - 1].key > unit.key; at--, moves--)
                u->units[at] = u->units[at - 1];
            u->units[at] = unit;
        }
        if (moves > 0) return;
    }
    qsort(u->units, (size_t)n, sizeof *u->units, by_key);
}

#define BODY "health_parameters_body.h"
#include "each_type.h"
