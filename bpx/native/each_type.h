/* Includes the file named by BODY once for each element type, with
 *     NAME    f32, f64, bf16
 *     T       the element, A the arithmetic (and the statistics, weights and their gradients)
 *     LOAD, STORE    element to arithmetic and back
 *     FN(f)   f_NAME: names that differ by type
 *     MATH(f) f of A, f32 or f64: the functions of vector_math.h
 *     SQRT    of A
 * A body declares everything through FN, since all three end up in one file. */
#define FN(f) BPX_JOIN(f, BPX_JOIN(_, NAME))
#define LOAD FN(bpx_load)
#define STORE FN(bpx_store)
#define MATH(f) BPX_JOIN(f, BPX_JOIN(_, ANAME))

#define NAME f32
#define ANAME f32
#define T float
#define A float
#define SQRT sqrtf
#include BODY
#undef NAME
#undef ANAME
#undef T
#undef A
#undef SQRT

#define NAME f64
#define ANAME f64
#define T double
#define A double
#define SQRT sqrt
#include BODY
#undef NAME
#undef ANAME
#undef T
#undef A
#undef SQRT

#define NAME bf16
#define ANAME f32
#define T uint16_t
#define A float
#define SQRT sqrtf
#include BODY
#undef NAME
#undef ANAME
#undef T
#undef A
#undef SQRT

#undef FN
#undef LOAD
#undef STORE
#undef MATH
#undef BODY
