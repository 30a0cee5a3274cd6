/* sin and cos for |x| <= BPX_TRIG_BOUND, and the _any forms, scalar, for every x.
 *
 * x = n pi/2 + r + tail with |r| <= pi/4 and r + tail exact to twice the digits of the type: pi/2 in four
 * parts of 33 bits, whose products by n are exact (Cody, Waite 1980), and beyond the bound the product
 * of x by enough bits of 2/pi, modulo 4 (Payne, Hanek 1983, "Radian reduction for trigonometric
 * functions"). */
#ifndef BPX_VECTOR_MATH_TRIG_H
#define BPX_VECTOR_MATH_TRIG_H

#define BPX_HALF_PI_1 0x1.921fb544p+0
#define BPX_HALF_PI_2 0x1.0b4611a6p-34
#define BPX_HALF_PI_3 0x1.3198a2ep-69
#define BPX_HALF_PI_4 0x1.b839a252049c1p-104
#define BPX_TWO_OVER_PI 0x1.45f306dc9c883p-1

/* sin(r + tail) or cos(r + tail) by bit 0 of n, negated by bit 1 */
BPX_INLINE double bpx_quadrant_f64(uint64_t n, double r, double tail) {
    const double z = r * r, half = 0.5 * z, one = 1.0 - half;
    const double sine = r + (r * z * bpx_poly_sin_f64(z) + (tail - half * tail));
    const double cosine =
        one + (((1.0 - one) - half) + (z * z * bpx_poly_cos_f64(z) - r * tail));
    const double y = n & 1 ? cosine : sine;
    return bpx_from_bits_f64(bpx_bits_f64(y) ^ (n & 2) << 62);
}

BPX_INLINE float bpx_quadrant_f32(uint32_t n, float r) {
    const float z = r * r, half = 0.5f * z, one = 1.0f - half;
    const float sine = r + r * z * bpx_poly_sin_f32(z);
    const float cosine = one + (((1.0f - one) - half) + z * z * bpx_poly_cos_f32(z));
    const float y = n & 1 ? cosine : sine;
    return bpx_from_bits_f32(bpx_bits_f32(y) ^ (n & 2) << 30);
}

BPX_INLINE double bpx_trig_f64(double x, uint64_t quarters) {
    const double shifted = x * BPX_TWO_OVER_PI + BPX_SHIFT_f64, n = shifted - BPX_SHIFT_f64;
    const double first = x - n * BPX_HALF_PI_1; /* exact, as is n times each of the first three parts */
    const double second = n * BPX_HALF_PI_2, high = first - second;
    const double low = ((first - high) - second) - n * BPX_HALF_PI_3 - n * BPX_HALF_PI_4;
    const double r = high + low, tail = (high - r) + low;
    return bpx_quadrant_f64(bpx_bits_f64(shifted) + quarters, r, tail);
}

/* In double the first 33 bits and the next 53 leave float more digits than it has. */
BPX_INLINE float bpx_trig_f32(float x, uint32_t quarters) {
    const double wide = x;
    const double shifted = wide * BPX_TWO_OVER_PI + BPX_SHIFT_f64, n = shifted - BPX_SHIFT_f64;
    const double r = (wide - n * BPX_HALF_PI_1) - n * 0x1.0b4611a626331p-34;
    return bpx_quadrant_f32((uint32_t)bpx_bits_f64(shifted) + quarters, (float)r);
}

BPX_INLINE double bpx_sin_f64(double x) { return x == 0.0 ? x : bpx_trig_f64(x, 0); }
BPX_INLINE double bpx_cos_f64(double x) { return bpx_trig_f64(x, 1); }
BPX_INLINE float bpx_sin_f32(float x) { return x == 0.0f ? x : bpx_trig_f32(x, 0); }
BPX_INLINE float bpx_cos_f32(float x) { return bpx_trig_f32(x, 1); }

/* 2/pi after 64 zeros: bit j, j >= 1, has weight 2^-j and is bit j + 63 of the table. */
static const uint64_t bpx_two_over_pi[20] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};

/* |x| = m 2^e with m of 53 bits, |x| > 2^19: the bits of 2/pi before j = e - 1 make multiples of 4, and
 * the 192 from there on give x 2/pi modulo 4 in units of 2^-190. */
static inline double bpx_trig_any_f64(double x, uint64_t quarters) {
    if (!(bpx_abs_f64(x) > BPX_TRIG_BOUND)) return bpx_trig_f64(x, quarters);
    if (bpx_abs_f64(x) > 0x1.fffffffffffffp+1023) return x - x;
    typedef unsigned __int128 Wide;
    const uint64_t bits = bpx_bits_f64(x), m = (bits & 0xfffffffffffff) | (1ull << 52);
    const int e = (int)(bits >> 52 & 0x7ff) - 1075, start = e - 1 + 63, word = start / 64;
    const int shift = start % 64;
    uint64_t w[3];
    for (int i = 0; i < 3; i++) {
        const uint64_t next = shift ? bpx_two_over_pi[word + i + 1] >> (64 - shift) : 0;
        w[i] = bpx_two_over_pi[word + i] << shift | next;
    }
    const Wide last = (Wide)m * w[2], middle = (Wide)m * w[1] + (uint64_t)(last >> 64);
    const uint64_t top = m * w[0] + (uint64_t)(middle >> 64);
    Wide fraction = ((Wide)top << 64 | (uint64_t)middle) << 2 | (uint64_t)last >> 62;
    const uint64_t n = (top >> 62) + (uint64_t)(fraction >> 127); /* the nearer quarter turn */
    const int below = (int)(fraction >> 127);
    if (below) fraction = -fraction;
    const double high = (double)fraction;
    const double low = (double)(__int128)(fraction - (Wide)high);
    const double sign = ((bits >> 63) ^ (uint64_t)below) ? -0x1p-128 : 0x1p-128;
    const double r = high * BPX_HALF_PI_HI_f64 * sign;
    const double error = __builtin_fma(high, BPX_HALF_PI_HI_f64, -high * BPX_HALF_PI_HI_f64);
    const double tail = (error + (high * BPX_HALF_PI_LO_f64 + low * BPX_HALF_PI_HI_f64)) * sign;
    return bpx_quadrant_f64((bits >> 63 ? -n : n) + quarters, r, tail);
}

static inline double bpx_sin_any_f64(double x) { return x == 0.0 ? x : bpx_trig_any_f64(x, 0); }
static inline double bpx_cos_any_f64(double x) { return bpx_trig_any_f64(x, 1); }
static inline float bpx_sin_any_f32(float x) { return (float)bpx_sin_any_f64(x); }
static inline float bpx_cos_any_f32(float x) { return (float)bpx_cos_any_f64(x); }

#endif
