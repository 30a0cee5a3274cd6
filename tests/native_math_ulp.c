/* The error of bpx/native/vector_math.h in units in the last place.
 *
 *     cc -std=c11 -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd \
 *         -Ibpx/native tests/native_math_ulp.c -o ulp -lm -lquadmath && ./ulp STEP COUNT [FUNCTION...]
 *
 * f32 at every STEP-th of the 2^32 inputs (1: all) against the double functions of libm; f64 at COUNT
 * inputs of every exponent and at edges, against quadruple ones. Exits 1 above a function's limit (8 units
 * for ndtr, 2.1 for erf, 2.5 for sech, 2 for the others; 3 for erfc without fused multiply-add), at a NaN for a
 * number, a number for a NaN, or a zero of the wrong sign. sin, cos and sech are looked at where they
 * hold. `make ulp` is the whole of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector_math.h"

#if defined(__x86_64__) && !defined(__clang__)
#include <quadmath.h>
typedef __float128 Wide;
#define WIDE(name) name##q
#else
typedef long double Wide;
#define WIDE(name) name##l
#endif

enum { BLOCK = 4096 };

static double sigmoid_d(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double sech_d(double x) { return 1 / cosh(x); }
static double ndtr_d(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
static Wide sigmoid_w(Wide x) {
    return x < 0 ? WIDE(exp)(x) / (1 + WIDE(exp)(x)) : 1 / (1 + WIDE(exp)(-x));
}
static Wide sech_w(Wide x) { return 1 / WIDE(cosh)(x); }
static Wide ndtr_w(Wide x) { return WIDE(erfc)(-x / WIDE(sqrt)(2)) / 2; }

#define FUNCTIONS(X)                                                                                \
    X(exp, exp, WIDE(exp)) X(expm1, expm1, WIDE(expm1)) X(log, log, WIDE(log))                      \
    X(log1p, log1p, WIDE(log1p)) X(tanh, tanh, WIDE(tanh)) X(sigmoid, sigmoid_d, sigmoid_w)         \
    X(erf, erf, WIDE(erf)) X(erfc, erfc, WIDE(erfc)) X(ndtr_of, ndtr_d, ndtr_w)                     \
    X(atan, atan, WIDE(atan)) X(sin, sin, WIDE(sin)) X(cos, cos, WIDE(cos))                         \
    X(sech, sech_d, sech_w) X(sin_any, sin, WIDE(sin)) X(cos_any, cos, WIDE(cos))

BPX_INLINE float bpx_ndtr_of_f32(float x) { float e; return bpx_ndtr_f32(x, &e); }
BPX_INLINE double bpx_ndtr_of_f64(double x) { double e; return bpx_ndtr_f64(x, &e); }

#define LOOPS(name, narrow, wide)                                                                   \
    static void name##_f32(const float *restrict x, float *restrict y, int n) {                     \
        _Pragma("omp simd") for (int i = 0; i < n; i++) y[i] = bpx_##name##_f32(x[i]);              \
    }                                                                                               \
    static void name##_f64(const double *restrict x, double *restrict y, int n) {                   \
        _Pragma("omp simd") for (int i = 0; i < n; i++) y[i] = bpx_##name##_f64(x[i]);              \
    }                                                                                               \
    static double name##_narrow(double x) { return narrow(x); }                                     \
    static Wide name##_wide(Wide x) { return wide(x); }
FUNCTIONS(LOOPS)

typedef struct {
    const char *name;
    void (*f32)(const float *, float *, int);
    void (*f64)(const double *, double *, int);
    double (*narrow)(double);
    Wide (*wide)(Wide);
} Function;

#define ROW(name, narrow, wide) {#name, name##_f32, name##_f64, name##_narrow, name##_wide},
static const Function TABLE[] = {FUNCTIONS(ROW)};

typedef struct { double limit, worst, at, got; long count, wrong; } Result;

static double limit(const Function *f) {
    if (strcmp(f->name, "ndtr_of") == 0) return 8;
    if (strcmp(f->name, "erf") == 0) return 2.1;
    if (strcmp(f->name, "sech") == 0) return 2.5;
#ifndef __FP_FAST_FMA
    if (strcmp(f->name, "erfc") == 0) return 3;
#endif
    return 2;
}

/* `off` is (got - right) / ulp(right); NaN where one of the two is a NaN or an infinity alone. */
static void note(Result *r, double x, double got, double right, double off, double largest) {
    r->count++;
    const int infinite = fabs(right) >= largest;
    if (isnan(right) ? isnan(got) : infinite && isinf(got) && (got > 0) == (right > 0)) return;
    if (right == 0 && got == 0 && !signbit(right) == !signbit(got)) return;
    if (isnan(off) || right == 0 || isinf(got) || fabs(off) > r->limit) {
        if (r->wrong++ < 5) printf("  wrong at %a: %a, expected %a\n", x, got, right);
    }
    if (fabs(off) > r->worst) r->worst = fabs(off), r->at = x, r->got = got;
}

static int in_domain(const Function *f, double x, double normal) {
    if (strcmp(f->name, "sech") == 0) return !(fabs(x) > normal);
    const int bounded = strcmp(f->name, "sin") == 0 || strcmp(f->name, "cos") == 0;
    return !bounded || !(fabs(x) > BPX_TRIG_BOUND);
}

static void compare_f32(const Function *f, Result *r, const uint32_t *bits, int n) {
    static float x[BLOCK], y[BLOCK];
    memcpy(x, bits, (size_t)n * sizeof *bits);
    f->f32(x, y, n);
    for (int i = 0; i < n; i++) {
        if (!in_domain(f, x[i], -BPX_EXP_NORMAL_f32)) continue;
        const double right = f->narrow(x[i]);
        uint64_t bits_right;
        memcpy(&bits_right, &right, sizeof right);
        int e = (int)(bits_right >> 52 & 0x7ff) - 1023;
        const uint64_t ulp_bits = (uint64_t)((e < -126 ? -126 : e) - 23 + 1023) << 52;
        double ulp;
        memcpy(&ulp, &ulp_bits, sizeof ulp);
        const double off = (y[i] - right) / ulp;
        if (fabs(off) <= r->worst && right != 0) r->count++; /* nothing to note; false for NaN */
        else note(r, x[i], y[i], right, off, 0x1.ffffffp127);
    }
}

/* And all the neighbours of where results become infinite, 0, or less than a normal number. */
static Result every_f32(const Function *f, uint64_t step) {
    static const float edges[] = {0x1.62e43p6f, -0x1.5d589ep6f, -0x1.9fe368p6f, -0x1.154246p4f, 0x1p-126f, 10.1f};
    static uint32_t block[BLOCK];
    Result r = {.limit = limit(f)};
    for (uint64_t bits = 0; bits < 1ull << 32;) {
        int n = 0;
        for (; n < BLOCK && bits < 1ull << 32; n++, bits += step) block[n] = (uint32_t)bits;
        compare_f32(f, &r, block, n);
    }
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        uint32_t middle;
        memcpy(&middle, &edges[i], sizeof middle);
        for (int n = 0; n < BLOCK; n++) block[n] = middle - BLOCK / 2 + (uint32_t)n;
        compare_f32(f, &r, block, BLOCK);
    }
    return r;
}

static uint64_t random_bits(void) { /* Marsaglia, "Xorshift RNGs", 2003 */
    static uint64_t s = 88172645463325252u;
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return s;
}

static double sample(long i) {
    static const double edges[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1.0, -1.0, 0x1p-1074, 0x1p-1022,
                                   0x1.fffffffffffffp1023, -0x1.fffffffffffffp1023, 709.78271289338397,
                                   709.78271289338409, -745.13321910194122, -708.396, 26.5, 38.4, -38.4,
                                   0x1.6ac5b262ca1ffp+849, 0x1.921fb54442d18p0, 5.319372648326541e+255};
    const long n = sizeof edges / sizeof edges[0];
    if (i < n) return edges[i];
    const uint64_t bits = random_bits();
    const double unit = (double)(bits >> 11) * 0x1p-53;
    switch (i % 4) {
        case 0: { double x; memcpy(&x, &bits, sizeof x); return x; }
        case 1: return (2 * unit - 1) * 40;
        case 2: return (2 * unit - 1) * (i % 8 < 4 ? 760 : 1.5e6);
        default: return (bits & 1 ? 1 : -1) * exp2(80 * unit - 60);
    }
}

static Result sample_f64(const Function *f, long count) {
    Result r = {.limit = limit(f)};
    static double x[BLOCK], y[BLOCK];
    for (long done = 0; done < count; done += BLOCK) {
        for (int i = 0; i < BLOCK; i++) x[i] = sample(done + i);
        f->f64(x, y, BLOCK);
        for (int i = 0; i < BLOCK; i++) {
            if (!in_domain(f, x[i], -BPX_EXP_NORMAL_f64)) continue;
            const Wide right = f->wide(x[i]);
            int e = 0;
            frexp((double)right, &e);
            if (isinf((double)right)) e = 1024;
            const double ulp = ldexp(1.0, (e < -1021 ? -1021 : e) - 53);
            note(&r, x[i], y[i], (double)right, (double)(((Wide)y[i] - right) / ulp), INFINITY);
        }
    }
    return r;
}

int main(int argc, char **argv) {
    const uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 65521;
    const long count = argc > 2 ? atol(argv[2]) : 20000;
    int bad = 0;
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        const Function *f = &TABLE[i];
        int wanted = argc < 4;
        for (int a = 3; a < argc; a++) wanted |= strcmp(argv[a], f->name) == 0;
        for (int wide = 0; wanted && wide < 2; wide++) {
            if (wide ? count == 0 : step == 0) continue;
            const Result r = wide ? sample_f64(f, count) : every_f32(f, step);
            printf("%-8s f%d %10ld inputs, %.3f ulp at %a (%a)\n", f->name, wide ? 64 : 32, r.count,
                   r.worst, r.at, r.got);
            fflush(stdout);
            bad |= r.wrong != 0;
        }
    }
    return bad;
}
