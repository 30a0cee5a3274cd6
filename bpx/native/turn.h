/* Short rows, turned: the elements that a vector leaves over at the end of a row are computed one at a
 * time, which of rows of ten is all of them. So as many short rows as BPX_LANES are turned, and vectors
 * go across them. */
#ifndef BPX_TURN_H
#define BPX_TURN_H

#include "core.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BPX_SHUFFLES
#endif
#endif

enum { BPX_LANES = 64, BPX_SHORT = 64 };

/* Whether rows of n elements take less time turned. */
BPX_INLINE int bpx_short(int64_t n) { return n < BPX_SHORT; }

#endif
