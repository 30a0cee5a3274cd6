/* Small matrix products: product.h. The columns of a panel are vectors in registers, of some rows at
 * once; how many fit depends on the instruction set. */
#include "core.h"
#include "product.h"

/* Whether there are 32 registers of 64 bytes. */
static inline int bpx_many_registers(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") != 0;
#else
    return 0;
#endif
}

#define BODY "product_body.h"
#include "each_type.h"
