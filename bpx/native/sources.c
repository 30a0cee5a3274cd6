/* Alone in its file: the only object that changes with every source. */
#include "bpx_native.h"

#ifndef BPX_SOURCES
#define BPX_SOURCES "unknown"
#endif

const char *bpx_sources(void) { return BPX_SOURCES; }
