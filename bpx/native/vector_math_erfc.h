/* erfc, whose lower tail keeps its digits.
 *
 * As in `mills` of vector_math_body.h, with d = x + K and q = (x - K) / d, d e^(x^2) erfc(x) is a
 * polynomial, c0 + q R(q) here. The tail is the product of that by 1 / d and e^(-x^2), whose roundings
 * would add up to 4 units: float takes them in double, double carries the roundings along. */
#ifndef BPX_VECTOR_MATH_ERFC_H
#define BPX_VECTOR_MATH_ERFC_H

/* R(q) for K = 2.25, x from 0.74 to 10.5 */
BPX_INLINE float bpx_poly_erfcx_f32(float q) {
    float p = 0x1.e5dc44p-13f;
    p = p * q + 0x1.9ec640p-14f;
    p = p * q - 0x1.a7885cp-10f;
    p = p * q - 0x1.a4dec4p-11f;
    p = p * q + 0x1.7dedd0p-7f;
    p = p * q - 0x1.d9323ap-9f;
    p = p * q - 0x1.9e8e98p-4f;
    p = p * q + 0x1.7c6f12p-2f;
    return p * q - 0x1.8100c6p-1f;
}

BPX_INLINE float bpx_erfc_tail_f32(float x) {
    const double y = -(double)x * x, shifted = y * BPX_LOG2E_f64 + BPX_SHIFT_f64; /* x^2 is exact */
    const float r = (float)(y - (shifted - BPX_SHIFT_f64) * 0x1.62e42fefa39efp-1);
    const double p = r + r * r * bpx_poly_exp_f32(r, 1);
    const double power = bpx_from_bits_f64((bpx_bits_f64(shifted) + 1023) << 52);
    const double d = x + 2.25, first = 1.0f / (float)d, inverse = first * (2.0 - d * first);
    const float q = (float)((x - 2.25) * inverse);
    return (float)((power + power * p) * inverse * (0x1.0a3668p+0 + (double)(q * bpx_poly_erfcx_f32(q))));
}

/* R(q) for K = 3.75, x from 0.74 to 27.5 */
BPX_INLINE double bpx_poly_erfcx_f64(double q) {
    double p = -0x1.7945749dca1efp-29;
    p = p * q + 0x1.077c9e2460e9cp-25;
    p = p * q - 0x1.ee72b1b570ee9p-27;
    p = p * q - 0x1.131952eda7005p-22;
    p = p * q + 0x1.1fe54be042f4ap-22;
    p = p * q + 0x1.bbb81a8b5eb3bp-20;
    p = p * q - 0x1.b8ac040823de6p-19;
    p = p * q - 0x1.2abec76479447p-17;
    p = p * q + 0x1.3a519d72cde55p-15;
    p = p * q + 0x1.637953c84a038p-17;
    p = p * q - 0x1.6d9512171de7ep-12;
    p = p * q + 0x1.a0b7596e3dc69p-11;
    p = p * q + 0x1.0290065a28181p-10;
    p = p * q - 0x1.9ac695659a333p-7;
    p = p * q + 0x1.92618b7929f37p-5;
    p = p * q - 0x1.0e3ea224be9eep-3;
    p = p * q + 0x1.1dc271189e0e5p-2;
    p = p * q - 0x1.f63dd81196122p-2;
    p = p * q + 0x1.78fecb4e81b08p-1;
    return p * q - 0x1.eae02d0a1456bp-1;
}

BPX_INLINE double bpx_erfc_tail_f64(double x) {
    /* -x^2 = n ln 2 + r with e^r - 1 = p + p_rest */
    const double upper = bpx_upper_f64(x), high = -(upper * upper);
    const double shifted = high * BPX_LOG2E_f64 + BPX_SHIFT_f64, k = shifted - BPX_SHIFT_f64;
    const double exact = high - k * BPX_LN2_HI_f64;
    const double small = (upper - x) * (x + upper) - k * BPX_LN2_LO_f64;
    const double r = exact + small, curve = r * r * bpx_poly_exp_f64(r, 1), p = r + curve;
    const double p_rest = ((r - p) + curve) + ((exact - r) + small);
    const int64_t n = (int64_t)(bpx_bits_f64(shifted) - bpx_bits_f64(BPX_SHIFT_f64));
    const int64_t half = bpx_half_of_f64(n);
    const double first = bpx_pow2_f64(half), second = bpx_pow2_f64(n - half);
    /* d + d_rest = x + K; 1 / d = inverse (1 + t), where inverse has 26 bits */
    const double d = x + 3.75, x_part = d - 3.75;
    const double d_rest = (3.75 - (d - x_part)) + (x - x_part), d_upper = bpx_upper_f64(d);
    const double inverse = bpx_upper_f64(1.0 / d);
    const double lost = (1.0 - d_upper * inverse) - ((d - d_upper) + d_rest) * inverse;
    const double t = lost + lost * lost;
    /* c0 + q R = sum + sum_rest */
    const double q = (1.0 - 7.5 * inverse) - 7.5 * inverse * t;
    const double change = q * bpx_poly_erfcx_f64(q), sum = 0x1.178842825349dp+0 + change;
    const double sum_rest = change - (sum - 0x1.178842825349dp+0) - 0x1.e9bf3bdf02f71p-54;
    const double sum_upper = bpx_upper_f64(sum), product = sum_upper * inverse; /* exact */
    const double rest = ((sum - sum_upper) + sum_rest) * inverse;
    /* times (1 + p) (1 + t) */
    const double small_part = t + p * t;
    const double y = product + (product * p + (product * (p_rest + small_part) +
                                               rest * ((1.0 + p) + small_part)));
    return y * first * second;
}

/* x >= 0: the tail from 0.75 on, 1 - erf(x) before */
#define BPX_ERFC(NAME, T, END)                                                                     \
    BPX_INLINE T bpx_erfc_##NAME(T x) {                                                            \
        const T a = bpx_abs_##NAME(x), near = a + a * bpx_poly_erf_##NAME(a * a);                  \
        const T far = bpx_erfc_tail_##NAME(a > END ? END : a);                                     \
        const T upper = a < (T)0.75 ? 1 - near : far, lower = a < (T)0.75 ? 1 + near : 2 - far;    \
        return x < 0 ? lower : upper;                                                              \
    }
BPX_ERFC(f32, float, 10.5f)
BPX_ERFC(f64, double, 27.5)

#endif
