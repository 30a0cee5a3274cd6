/* Triplet loss of rows, forward and backward. Maths, shapes and source:
 * bpx/losses/triplet_margin.py.
 *
 * Each row is read from memory once; its later passes find it, or its differences, in cache. */
#include <math.h>

#include "labels.h"
#include "vector_math.h"

#define BODY "triplet_margin_body.h"
#include "each_type.h"
