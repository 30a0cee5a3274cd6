/* Constants and polynomials of vector_math_body.h in float. */
#ifndef BPX_VECTOR_MATH_F32_H
#define BPX_VECTOR_MATH_F32_H

enum { BPX_MANTISSA_f32 = 23, BPX_BIAS_f32 = 127, BPX_DOWN_f32 = 32 };
#define BPX_ABS_MASK_f32 0x7fffffffu
#define BPX_SHIFT_f32 0x1.8p23f        /* adding it rounds to an integer, in the low bits of the sum */
#define BPX_INTEGERS_f32 0x1p23f /* from here on every number is one */
#define BPX_SQRT_HALF_BITS_f32 0x3f3504f3
#define BPX_TINY_f32 0x1p-126f
#define BPX_EXP_LOW_f32 (-105.0f)
#define BPX_EXP_NORMAL_f32 (-86.0f) /* e^x is a normal number from here on */
#define BPX_EXP_HIGH_f32 0x1.62e42ep+6f /* the last x for which e^x is finite */
#define BPX_EXP_BEYOND_f32 89.0f /* and is infinite here */
#define BPX_EXPM1_LOW_f32 (-18.0f)
#define BPX_LOG1P_FAR_f32 25 /* from 2^25 on the 1 of 1 + x is below half a unit */
#define BPX_TANH_END_f32 10.0f
#define BPX_NDTR_END_f32 14.5f /* the density is 0 from here on */
#define BPX_ERF_END_f32 4.0f
#define BPX_MILLS_CENTRE_f32 3.0f
#define BPX_SPLIT_MASK_f32 0xfffff000u /* keeps 12 bits */
/* Cody, Waite 1980: the high part is short, so that its products by exponents are exact. */
#define BPX_LN2_HI_f32 0x1.62e4p-1f
#define BPX_LN2_LO_f32 0x1.7f7d1cp-20f
#define BPX_LOG2E_f32 0x1.715476p+0f
#define BPX_HALF_PI_HI_f32 0x1.921fb6p+0f
#define BPX_HALF_PI_LO_f32 -0x1.777a5cp-25f

/* `times` (e^r - 1 - r) / r^2, |r| <= ln 2 / 2 */
BPX_INLINE float bpx_poly_exp_f32(float r, float times) {
    float p = 0x1.6d995ap-10f * times;
    p = p * r + 0x1.122838p-7f * times;
    p = p * r + 0x1.555486p-5f * times;
    p = p * r + 0x1.5554b0p-3f * times;
    return p * r + 0x1.0p-1f * times;
}

/* (e^2h - 1 - 2h) / (2 h^2), |h| <= ln 2 / 4: twice the one above of r = 2 h */
BPX_INLINE float bpx_poly_expm1_half_f32(float h) {
    float p = 0x1.6d995ap-5f;
    p = p * h + 0x1.122838p-3f;
    p = p * h + 0x1.555486p-2f;
    p = p * h + 0x1.5554b0p-1f;
    return p * h + 1.0f;
}

/* log1p(f) - f for sqrt(1/2) - 1 <= f <= sqrt(2) - 1: f^2 (f P(f) - 1/2) */
BPX_INLINE float bpx_log1p_tail_f32(float f) {
    float p = 0x1.1bfe94p-4f;
    p = p * f - 0x1.e34d76p-4f;
    p = p * f + 0x1.e62c7cp-4f;
    p = p * f - 0x1.fb33d0p-4f;
    p = p * f + 0x1.233556p-3f;
    p = p * f - 0x1.556350p-3f;
    p = p * f + 0x1.99a512p-3f;
    p = p * f - 0x1.ffffecp-3f;
    p = p * f + 0x1.555546p-2f;
    return f * f * (p * f - 0.5f);
}

/* (tanh(x) - x) / x^3 in z = x^2, |x| <= 0.63 */
BPX_INLINE float bpx_poly_tanh_f32(float z) {
    float p = 0x1.175464p-9f;
    p = p * z - 0x1.0b8f7ap-7f;
    p = p * z + 0x1.63786ep-6f;
    p = p * z - 0x1.b9ed02p-5f;
    p = p * z + 0x1.111060p-3f;
    return p * z - 0x1.555554p-2f;
}

BPX_INLINE float bpx_tanh_near_f32(BPX_MAYBE float a, float g, float far) {
    return g < 0.5f ? g - g * far : far;
}

/* (sin(x) - x) / x^3 in z = x^2, |x| <= pi / 4 */
BPX_INLINE float bpx_poly_sin_f32(float z) {
    float p = 0x1.6ccbd4p-19f;
    p = p * z - 0x1.a00f6ap-13f;
    p = p * z + 0x1.111108p-7f;
    return p * z - 0x1.555556p-3f;
}

/* (cos(x) - 1 + x^2 / 2) / x^4 in z = x^2, |x| <= pi / 4 */
BPX_INLINE float bpx_poly_cos_f32(float z) {
    float p = 0x1.99f740p-16f;
    p = p * z - 0x1.6c0c6ap-10f;
    return p * z + 0x1.55554ap-5f;
}

/* (atan(t) - t) / t^3 in z = t^2, |t| <= sqrt(2) - 1 */
BPX_INLINE float bpx_poly_atan_f32(float z) {
    float p = -0x1.f08fb4p-5f;
    p = p * z + 0x1.b1ad50p-4f;
    p = p * z - 0x1.23b15cp-3f;
    p = p * z + 0x1.99916ap-3f;
    return p * z - 0x1.555548p-2f;
}

/* erf(x) / x - 1 in z = x^2, |x| <= 0.75 */
BPX_INLINE float bpx_poly_erf_f32(float z) {
    float p = -0x1.61a86cp-11f;
    p = p * z + 0x1.4f26b4p-8f;
    p = p * z - 0x1.b7a854p-6f;
    p = p * z + 0x1.ce2acap-4f;
    p = p * z - 0x1.81273ap-2f;
    return p * z + 0x1.06eba8p-3f;
}

/* (a + K) e^(a^2 / 2) (1 - Phi(a)) in q = (a - K) / (a + K), K = 3, from a = 0 to 14.3 */
BPX_INLINE float bpx_poly_mills_f32(float q) {
    float p = 0x1.c8a5fep-15f;
    p = p * q + 0x1.132b9ap-13f;
    p = p * q - 0x1.00a8f4p-12f;
    p = p * q - 0x1.0ea9bap-10f;
    p = p * q + 0x1.0ca544p-10f;
    p = p * q + 0x1.c8bd6ap-8f;
    p = p * q - 0x1.56d604p-7f;
    p = p * q - 0x1.832d0ap-5f;
    p = p * q + 0x1.d71386p-3f;
    p = p * q - 0x1.04c72ap-1f;
    return p * q + 0x1.754a76p-1f;
}

#endif
