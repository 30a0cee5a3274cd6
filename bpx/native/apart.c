/* Whether a few of their weights tell all units of a matrix apart, for bpx.health: sorted by an
 * irregular sum of them, so that twins are neighbours, no two neighbours are close. */
#include <math.h>
#include <stdlib.h>

#include "core.h"

enum { FEW = 8 };

typedef struct {
    double key;
    int64_t unit;
} bpx_apart_unit;

static int by_key(const void *a, const void *b) {
    const double x = ((const bpx_apart_unit *)a)->key, y = ((const bpx_apart_unit *)b)->key;
    return (x > y) - (x < y);
}

#define BODY "apart_body.h"
#include "each_type.h"
