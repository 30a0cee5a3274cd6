/* The functions of one type: NAME, T (the type), I and U (integers of its width), C (a constant of it).
 * Included by vector_math.h, after the constants and polynomials of the type. */

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define F(name) JOIN(JOIN(bpx_, name), JOIN(_, NAME))
#define K(name) JOIN(JOIN(BPX_, name), JOIN(_, NAME))

BPX_INLINE U F(bits)(T x) {
    U u;
    memcpy(&u, &x, sizeof u);
    return u;
}

BPX_INLINE T F(from_bits)(U u) {
    T x;
    memcpy(&x, &u, sizeof x);
    return x;
}

BPX_INLINE T F(abs)(T x) { return F(from_bits)(F(bits)(x) & K(ABS_MASK)); }

/* |y| with the sign of x, for y >= 0 */
BPX_INLINE T F(with_sign)(T y, T x) {
    return F(from_bits)(F(bits)(y) | (F(bits)(x) & ~K(ABS_MASK)));
}

/* To the nearest integer, halves to even */
BPX_INLINE T F(round)(T x) {
    const T a = F(abs)(x), y = (a + K(INTEGERS)) - K(INTEGERS);
    return F(with_sign)(a < K(INTEGERS) ? y : a, x);
}

BPX_INLINE T F(pow2)(I n) { return F(from_bits)((U)(n + K(BIAS)) << K(MANTISSA)); }

/* The exponent e for which sqrt(1/2) <= 2^-e u < sqrt(2), u normal */
BPX_INLINE I F(exponent)(T u) {
    return (I)((F(bits)(u) - K(SQRT_HALF_BITS) + ((U)K(BIAS) << K(MANTISSA))) >> K(MANTISSA)) - K(BIAS);
}

/* n as a T by its bits, and floor(n / 2) by an unsigned shift: AVX2 has neither for 64-bit integers */
BPX_INLINE T F(of_int)(I n) { return F(from_bits)(F(bits)(K(SHIFT)) + (U)n) - K(SHIFT); }
BPX_INLINE I F(half_of)(I n) { return (I)((U)(n + 4096) >> 1) - 2048; }

/* 2^n (1 + p) for n <= 0, where 2^(n + DOWN) is a normal number: only the last product may round */
BPX_INLINE T F(scaled_down)(T p, I n) {
    return (C(1.0) + p) * F(pow2)(n + K(DOWN)) * F(from_bits)((U)(K(BIAS) - K(DOWN)) << K(MANTISSA));
}

/* e^(high + low) <= 1, |low| below 0.1 and `high` with so few bits that high - n ln2_hi is exact */
BPX_INLINE T F(exp_sum)(T high, T low) {
    const T z = high * K(LOG2E) + K(SHIFT), k = z - K(SHIFT);
    const T r = (high - k * K(LN2_HI)) + (low - k * K(LN2_LO));
    return F(scaled_down)(r + r * r * F(poly_exp)(r), (I)(F(bits)(z) - F(bits)(K(SHIFT))));
}

/* e^-|x| */
BPX_INLINE T F(exp_minus)(T x) {
    const T a = F(abs)(x), b = a > -K(EXP_LOW) ? -K(EXP_LOW) : a;
    const T z = K(SHIFT) - b * K(LOG2E), k = z - K(SHIFT);
    const T r = (-b - k * K(LN2_HI)) - k * K(LN2_LO);
    return F(scaled_down)(r + r * r * F(poly_exp)(r), (I)(F(bits)(z) - F(bits)(K(SHIFT))));
}

/* 2^n (1 + p), n added to the exponent of 1 + p: that one is below 1 where n would make it infinite.
 * Where the result may be less than a normal number, by way of 2^DOWN of it: only the last product may
 * round. */
BPX_INLINE T F(exp)(T x) {
    const T infinity = F(from_bits)(K(ABS_MASK) >> K(MANTISSA) << K(MANTISSA));
    const T a = x < K(EXP_LOW) ? K(EXP_LOW) : x;
    const T z = a * K(LOG2E) + K(SHIFT), k = z - K(SHIFT);
    const T r = (a - k * K(LN2_HI)) - k * K(LN2_LO), m = C(1.0) + (r + r * r * F(poly_exp)(r));
    const int tiny = a < K(EXP_NORMAL);
    const U n = (F(bits)(z) + (U)(tiny ? K(DOWN) : 0)) << K(MANTISSA); /* SHIFT's own bits fall off */
    const T up = F(from_bits)((U)(K(BIAS) - K(DOWN)) << K(MANTISSA));
    const T y = F(from_bits)(F(bits)(m) + n) * (tiny ? up : C(1.0));
    return x <= K(EXP_HIGH) ? y : x + infinity;
}

/* e^x of an x for which the result is normal */
BPX_INLINE T F(exp_normal)(T x) {
    const T z = x * K(LOG2E) + K(SHIFT), k = z - K(SHIFT);
    const T r = (x - k * K(LN2_HI)) - k * K(LN2_LO);
    return (C(1.0) + (r + r * r * F(poly_exp)(r))) * F(pow2)((I)(F(bits)(z) - F(bits)(K(SHIFT))));
}

/* 2 (t r + t - 1/2 + t r^2 P(r)) with t = 2^(n - 1), whose sum cancels without an error for n = 1 */
BPX_INLINE T F(expm1)(T x) {
    T a = x < K(EXPM1_LOW) ? K(EXPM1_LOW) : x;
    a = a > K(EXP_BEYOND) ? K(EXP_BEYOND) : a;
    const T z = a * K(LOG2E) + K(SHIFT), k = z - K(SHIFT);
    const T r = (a - k * K(LN2_HI)) - k * K(LN2_LO);
    const T t = F(pow2)((I)(F(bits)(z) - F(bits)(K(SHIFT))) - 1);
    const T y = C(2.0) * ((t * r + (t - C(0.5))) + t * (r * r * F(poly_exp)(r)));
    return F(abs)(x) < C(0x1p-60) ? x : y;
}

/* log(2^e (1 + f)) */
BPX_INLINE T F(log_sum)(T e, T f) {
    return e * K(LN2_HI) + (f + (F(log1p_tail)(f) + e * K(LN2_LO)));
}

BPX_INLINE T F(log)(T x) {
    const T u = x < K(TINY) ? x * F(pow2)(K(MANTISSA)) : x;
    const I e = F(exponent)(u);
    const T m = F(from_bits)(F(bits)(u) - ((U)e << K(MANTISSA)));
    const T y = F(log_sum)(F(of_int)(x < K(TINY) ? e - K(MANTISSA) : e), m - C(1.0));
    const T infinity = F(from_bits)(K(ABS_MASK) >> K(MANTISSA) << K(MANTISSA));
    const T end = x == C(0.0) ? -infinity : F(from_bits)(K(ABS_MASK)); /* NaN */
    return x > C(0.0) ? (x < infinity ? y : x) : (x != x ? x : end);
}

/* f = 2^-e (1 + x) - 1 is taken from x itself, 2^-e x + (2^-e - 1): the rounding of 1 + x is not in it.
 * For 0 <= x <= 1; `far` for larger ones. */
BPX_INLINE T F(log1p_of)(T x, int far) {
    const T u = C(1.0) + x;
    const I e = F(exponent)(u);
    const T s = F(pow2)(-e);
    T f = x * s + (s - C(1.0));
    if (far) {
        const T m = F(from_bits)(F(bits)(u) - ((U)e << K(MANTISSA)));
        f = e > K(LOG1P_FAR) ? m - C(1.0) : f;
    }
    return F(log_sum)(F(of_int)(e), f);
}

BPX_INLINE T F(log1p)(T x) {
    const T infinity = F(from_bits)(K(ABS_MASK) >> K(MANTISSA) << K(MANTISSA));
    const T y = F(abs)(x) < C(0x1p-60) ? x : F(log1p_of)(x, 1);
    const T end = x == C(-1.0) ? -infinity : F(from_bits)(K(ABS_MASK));
    return x > C(-1.0) ? (x < infinity ? y : x) : (x != x ? x : end);
}

/* x + x^3 P(x^2) near 0, 1 - 2 / (e^2x + 1) beyond */
BPX_INLINE T F(tanh)(T x) {
    const T a = F(abs)(x), z = a * a, near = a + a * z * F(poly_tanh)(z);
    const T b = a > K(TANH_END) ? K(TANH_END) : a;
    const T far = C(1.0) - C(2.0) / (F(exp_normal)(C(2.0) * b) + C(1.0));
    return F(with_sign)(a < C(0.63) ? near : far, x);
}

/* 1 / (1 + t) and t / (1 + t) with t = e^-|x|: the lower tail keeps its digits. What 1 + t lost to
 * rounding is taken off in the end, times 1 / (1 + t), which is y or 1 - y. */
BPX_INLINE T F(sigmoid)(T x) {
    const T t = F(exp_minus)(x), s = C(1.0) + t, lost = t - (s - C(1.0));
    const T y = (x < C(0.0) ? t : C(1.0)) / s;
    return y - y * (lost * (x < C(0.0) ? C(1.0) - y : y));
}

/* The upper half of the bits: products of two such are exact. */
BPX_INLINE T F(upper)(T x) { return F(from_bits)(F(bits)(x) & K(SPLIT_MASK)); }

/* e^(a^2 / 2) times the normal distribution's upper tail, for a from 0 to NDTR_END. The map to q and the
 * factor a + K are of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in
 * [0, inf)", 1981. */
BPX_INLINE T F(mills)(T a) {
    const T inverse = C(1.0) / (a + K(MILLS_CENTRE));
    return F(poly_mills)((a - K(MILLS_CENTRE)) * inverse) * inverse;
}

/* The standard normal distribution function, within 5 units down to the smallest normal number; *e is
 * e^(-x^2 / 2). x^2 is the exact square of its upper bits and the rest: an error of its rounding would
 * grow with it. */
BPX_INLINE T F(ndtr)(T x, T *e) {
    T a = F(abs)(x);
    a = a > K(NDTR_END) ? K(NDTR_END) : a;
    const T upper = F(upper)(a);
    *e = F(exp_sum)(C(-0.5) * (upper * upper), C(-0.5) * ((a - upper) * (a + upper)));
    const T tail = *e * F(mills)(a);
    return x > C(0.0) ? C(1.0) - tail : tail;
}

/* x + x P(x^2) near 0, 1 minus twice a tail beyond, where a few units of the tail are less of the sum */
BPX_INLINE T F(erf)(T x) {
    const T a = F(abs)(x), near = a + a * F(poly_erf)(a * a);
    const T b = a > K(ERF_END) ? K(ERF_END) : a;
    const T tail = F(exp_normal)(-(b * b)) * F(mills)(b * C(1.4142135623730951));
    return F(with_sign)(a < C(0.75) ? near : C(1.0) - C(2.0) * tail, x);
}

/* atan(a) = pi/2 + atan(-1 / a) = pi/4 + atan((a - 1) / (a + 1)); the argument is below sqrt(2) - 1 */
BPX_INLINE T F(atan)(T x) {
    const T a = F(abs)(x);
    const int middle = a > C(0.41421356237309505), far = a > C(2.4142135623730950);
    const T above = far ? C(-1.0) : (middle ? a - C(1.0) : a);
    const T below = far ? a : (middle ? a + C(1.0) : C(1.0));
    const T part = far ? C(1.0) : (middle ? C(0.5) : C(0.0));
    const T t = above / below, z = t * t;
    const T y = part * K(HALF_PI_HI) + (t + (t * z * F(poly_atan)(z) + part * K(HALF_PI_LO)));
    return F(with_sign)(F(abs)(y), x);
}

#undef JOIN_
#undef JOIN
#undef F
#undef K
#undef NAME
#undef T
#undef I
#undef U
#undef C
