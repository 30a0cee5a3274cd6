/* exp, expm1, log, log1p, tanh, sech, sigmoid, erf, erfc, the normal distribution, atan, sin and cos without
 * a branch or a call, so that the compiler vectorises the loops that hold them.
 *
 * Every function of x follows IEEE: NaN gives NaN, an infinity the limit, results below the smallest
 * normal number are rounded once, -0 stays -0 where f(-0) = -0. The error is at most 2 units in the
 * last place (2.1 for erf in f32, 2.5 for sech): tests/native_math_ulp.c measures it, for f32 at all 2^32
 * inputs.
 *
 * Polynomials are minimax by Remez' exchange in 120 digits, weighted by what the error of each does to
 * the relative error of the result, then rounded to the type (Muller, "Elementary Functions", 3rd
 * edition, chapter 3). What is divided out first (x of sin x, x + x^2 / 2 of log1p, ...) stays exact.
 * Nothing here may be reassociated; fused multiply-adds only help. */
#ifndef BPX_VECTOR_MATH_H
#define BPX_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

#include "core.h"

/* sin and cos take |x| up to this (their n must have 20 bits); the _any forms take every x. */
#define BPX_TRIG_BOUND 524288

#include "vector_math_f32.h"
#define NAME f32
#define T float
#define I int32_t
#define U uint32_t
#define C(x) x##f
#include "vector_math_body.h"

#include "vector_math_f64.h"
#define NAME f64
#define T double
#define I int64_t
#define U uint64_t
#define C(x) x
#include "vector_math_body.h"

#include "vector_math_erfc.h"
#include "vector_math_trig.h"

#endif
