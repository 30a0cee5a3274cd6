/* Cosine similarity and the loss of it, forward and backward. Maths, shapes and sources:
 * bpx/layers/cosine_similarity.py, bpx/losses/cosine_embedding.py.
 *
 * Each row of both arguments is read from memory once; its later passes find it in cache. */
#include <math.h>
#include <stdlib.h>

#include "labels.h"
#include "vector_math.h"

#define BODY "cosine_body.h"
#include "each_type.h"
