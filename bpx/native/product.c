/* Small matrix products: product.h. The columns of a panel are vectors in registers, of some rows at
 * once; how many fit depends on the instruction set. */
#include "core.h"
#include "product.h"

#define BODY "product_body.h"
#include "each_type.h"
