/* Constants and polynomials of vector_math_body.h in double. */
#ifndef BPX_VECTOR_MATH_F64_H
#define BPX_VECTOR_MATH_F64_H

enum { BPX_MANTISSA_f64 = 52, BPX_BIAS_f64 = 1023, BPX_DOWN_f64 = 128 };
#define BPX_ABS_MASK_f64 0x7fffffffffffffffu
#define BPX_SHIFT_f64 0x1.8p52
#define BPX_INTEGERS_f64 0x1p52 /* from here on every number is one */
#define BPX_SQRT_HALF_BITS_f64 0x3fe6a09e667f3bcd
#define BPX_TINY_f64 0x1p-1022
#define BPX_EXP_LOW_f64 (-746.0)
#define BPX_EXP_NORMAL_f64 (-707.0) /* e^x is a normal number from here on */
#define BPX_EXP_HIGH_f64 0x1.62e42fefa39efp+9 /* the last x for which e^x is finite */
#define BPX_EXP_BEYOND_f64 710.0 /* and is infinite here */
#define BPX_EXPM1_LOW_f64 (-38.0)
#define BPX_LOG1P_FAR_f64 54
#define BPX_TANH_END_f64 20.0
#define BPX_NDTR_END_f64 38.9
#define BPX_ERF_END_f64 6.0
#define BPX_MILLS_CENTRE_f64 5.0
#define BPX_SPLIT_MASK_f64 0xfffffffff8000000u /* keeps 26 bits */
#define BPX_LN2_HI_f64 0x1.62e42fefa3p-1
#define BPX_LN2_LO_f64 0x1.3de6af278ece6p-42
#define BPX_LOG2E_f64 0x1.71547652b82fep+0
#define BPX_HALF_PI_HI_f64 0x1.921fb54442d18p+0
#define BPX_HALF_PI_LO_f64 0x1.1a62633145c07p-54

BPX_INLINE double bpx_poly_exp_f64(double r, double times) {
    double p = 0x1.af89b8eab56d0p-26 * times;
    p = p * r + 0x1.28b32ae213ea0p-22 * times;
    p = p * r + 0x1.71dddd435bd4ap-19 * times;
    p = p * r + 0x1.a01993c0ccd50p-16 * times;
    p = p * r + 0x1.a01a01bbf4090p-13 * times;
    p = p * r + 0x1.6c16c1868cb2ep-10 * times;
    p = p * r + 0x1.111111110d350p-7 * times;
    p = p * r + 0x1.555555554fd0ep-5 * times;
    p = p * r + 0x1.5555555555562p-3 * times;
    return p * r + 0x1.000000000000cp-1 * times;
}

BPX_INLINE double bpx_poly_expm1_half_f64(double h) {
    double p = 0x1.af89b8eab56d0p-16;
    p = p * h + 0x1.28b32ae213ea0p-13;
    p = p * h + 0x1.71dddd435bd4ap-11;
    p = p * h + 0x1.a01993c0ccd50p-9;
    p = p * h + 0x1.a01a01bbf4090p-7;
    p = p * h + 0x1.6c16c1868cb2ep-5;
    p = p * h + 0x1.111111110d350p-3;
    p = p * h + 0x1.555555554fd0ep-2;
    p = p * h + 0x1.5555555555562p-1;
    return p * h + 0x1.000000000000cp+0;
}

/* With s = f / (2 + f), log1p(f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + s^2 P(s^2)). */
BPX_INLINE double bpx_log1p_tail_f64(double f) {
    const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double p = 0x1.2f421b20ac314p-3;
    p = p * z + 0x1.399c3d33246d9p-3;
    p = p * z + 0x1.74666f625a926p-3;
    p = p * z + 0x1.c71c513f03e1dp-3;
    p = p * z + 0x1.24924942b77ccp-2;
    p = p * z + 0x1.999999997f45fp-2;
    p = p * z + 0x1.5555555555593p-1;
    return s * (half + z * p) - half;
}

BPX_INLINE double bpx_poly_tanh_f64(double z) {
    double p = 0x1.908f343011e46p-18;
    p = p * z - 0x1.f7b2d8e16d867p-16;
    p = p * z + 0x1.7f5a5318dc04fp-14;
    p = p * z - 0x1.f0dceca9f1d8ap-13;
    p = p * z + 0x1.3506b0aede74ep-11;
    p = p * z - 0x1.7d9ba1de2fad2p-10;
    p = p * z + 0x1.d6d34ee7e6931p-9;
    p = p * z - 0x1.226e32859755dp-7;
    p = p * z + 0x1.664f486e60300p-6;
    p = p * z - 0x1.ba1ba1b9c60a5p-5;
    p = p * z + 0x1.1111111110b6fp-3;
    return p * z - 0x1.5555555555551p-2;
}

BPX_INLINE double bpx_tanh_near_f64(double a, BPX_MAYBE double g, double far) {
    const double z = a * a;
    return a < 0.63 ? a + a * z * bpx_poly_tanh_f64(z) : far;
}

BPX_INLINE double bpx_poly_sin_f64(double z) {
    double p = 0x1.5d8a34e977efap-33;
    p = p * z - 0x1.ae5e48cf569b1p-26;
    p = p * z + 0x1.71de355371922p-19;
    p = p * z - 0x1.a01a019be9751p-13;
    p = p * z + 0x1.111111110f749p-7;
    return p * z - 0x1.5555555555548p-3;
}

BPX_INLINE double bpx_poly_cos_f64(double z) {
    double p = -0x1.8fb3228f20788p-37;
    p = p * z + 0x1.1ee9f7f2f21bcp-29;
    p = p * z - 0x1.27e4f82198ab1p-22;
    p = p * z + 0x1.a01a019cdceafp-16;
    p = p * z - 0x1.6c16c16c153c6p-10;
    return p * z + 0x1.555555555554dp-5;
}

BPX_INLINE double bpx_poly_atan_f64(double z) {
    double p = -0x1.2354b08f5d6c0p-6;
    p = p * z + 0x1.36e7d8b18c431p-5;
    p = p * z - 0x1.9c77aa325ae96p-5;
    p = p * z + 0x1.defbb2706891dp-5;
    p = p * z - 0x1.10ea6b88db982p-4;
    p = p * z + 0x1.3b10fd047d9efp-4;
    p = p * z - 0x1.745cf75b4de6ep-4;
    p = p * z + 0x1.c71c70d96ec6bp-4;
    p = p * z - 0x1.249249228f54dp-3;
    p = p * z + 0x1.9999999995414p-3;
    return p * z - 0x1.555555555553bp-2;
}

BPX_INLINE double bpx_poly_erf_f64(double z) {
    double p = 0x1.894b178b16c2dp-27;
    p = p * z - 0x1.56290d250575fp-23;
    p = p * z + 0x1.b9096000e755cp-20;
    p = p * z - 0x1.f4c57271269f4p-17;
    p = p * z + 0x1.f9a2aa8f31288p-14;
    p = p * z - 0x1.c02db0fc7c577p-11;
    p = p * z + 0x1.565bcd02bd552p-8;
    p = p * z - 0x1.b82ce31253e61p-6;
    p = p * z + 0x1.ce2f21a042439p-4;
    p = p * z - 0x1.812746b0379e0p-2;
    return p * z + 0x1.06eba8214db69p-3;
}

/* K = 5, from a = 0 to 38.9 */
BPX_INLINE double bpx_poly_mills_f64(double q) {
    double p = 0x1.1529b2144bc81p-29;
    p = p * q + 0x1.edfa87b0970ebp-28;
    p = p * q - 0x1.5ef844c822230p-27;
    p = p * q - 0x1.189f82eb85017p-24;
    p = p * q + 0x1.769c16cff856ap-25;
    p = p * q + 0x1.d09dc4950c5c3p-22;
    p = p * q - 0x1.6aa42467b341ep-22;
    p = p * q - 0x1.73a87e265059fp-19;
    p = p * q + 0x1.0b31645e95976p-18;
    p = p * q + 0x1.17dcfedd8cf10p-16;
    p = p * q - 0x1.a1713eb0f697ep-15;
    p = p * q - 0x1.f2145f403988ep-15;
    p = p * q + 0x1.1daf1eb0df985p-11;
    p = p * q - 0x1.a25037e1154a4p-11;
    p = p * q - 0x1.88590eb62a909p-9;
    p = p * q + 0x1.54b4d4f4ce4b6p-6;
    p = p * q - 0x1.1b1c254c9403bp-4;
    p = p * q + 0x1.51f6329f0155bp-3;
    p = p * q - 0x1.410ed5f875b3fp-2;
    p = p * q + 0x1.fb31653876f99p-2;
    p = p * q - 0x1.54ad03f27ca16p-1;
    return p * q + 0x1.89d3abe1f95aep-1;
}

#endif
