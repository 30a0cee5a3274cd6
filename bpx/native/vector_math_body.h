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

/* With n + BIAS in the low bits of z, as adding SHIFT + BIAS leaves it: 2^n. SHIFT's own bits fall off. */
BPX_INLINE T F(power)(T z) { return F(from_bits)(F(bits)(z) << K(MANTISSA)); }

/* `times` e^r, |r| <= ln 2 / 2 */
BPX_INLINE T F(exp_part)(T r, T times) { return times + r * (times + r * F(poly_exp)(r, times)); }

/* 2^n m for n <= 0, where 2^(n + DOWN) is a normal number, the power of z: only the last product may
 * round. */
BPX_INLINE T F(scaled_down)(T m, T z) {
    return m * F(power)(z) * F(from_bits)((U)(K(BIAS) - K(DOWN)) << K(MANTISSA));
}

/* e^(high + low) <= 1, |low| below 0.1 and `high` with so few bits that high - n ln2_hi is exact */
BPX_INLINE T F(exp_sum)(T high, T low) {
    const T shift = K(SHIFT) + (K(BIAS) + K(DOWN)), z = high * K(LOG2E) + shift, k = z - shift;
    const T r = (high - k * K(LN2_HI)) + (low - k * K(LN2_LO));
    return F(scaled_down)(F(exp_part)(r, 1), z);
}

/* e^-|x| */
BPX_INLINE T F(exp_minus)(T x) {
    const T a = F(abs)(x);
    const T shift = K(SHIFT) + (K(BIAS) + K(DOWN)), z = shift - a * K(LOG2E), k = z - shift;
    const T y = F(scaled_down)(F(exp_part)((-a - k * K(LN2_HI)) - k * K(LN2_LO), 1), z);
    return a > -K(EXP_LOW) ? 0 : y;
}

/* 2^(n - 1) 2 e^r: 2^n itself may be beyond the largest number where the result is not. Where the result
 * may be less than a normal number, by way of 2^DOWN of it: only the last product may round. The ends
 * are chosen last, one by one: of a clamp before, or a choice in a choice, compilers make more. */
BPX_INLINE T F(exp)(T x) {
    const T infinity = F(from_bits)(K(ABS_MASK) >> K(MANTISSA) << K(MANTISSA));
    const T shift = K(SHIFT) + (K(BIAS) - 1), z = x * K(LOG2E) + shift, k = z - shift;
    const T m = F(exp_part)((x - k * K(LN2_HI)) - k * K(LN2_LO), 2);
    const int tiny = x < K(EXP_NORMAL);
    const U n = F(bits)(z) + (U)(tiny ? K(DOWN) : 0);
    const T y = m * F(from_bits)(n << K(MANTISSA));
    const T up = F(from_bits)((U)(K(BIAS) - K(DOWN)) << K(MANTISSA)), low = tiny ? y * up : y;
    const T above = x < K(EXP_LOW) ? 0 : low;
    return x > K(EXP_HIGH) ? infinity : above;
}

/* e^x of an x for which the result is normal */
BPX_INLINE T F(exp_normal)(T x) {
    const T shift = K(SHIFT) + K(BIAS), z = x * K(LOG2E) + shift, k = z - shift;
    return F(exp_part)((x - k * K(LN2_HI)) - k * K(LN2_LO), 1) * F(power)(z);
}

/* 2 (t r + t - 1/2 + t r^2 P(r)) with t = 2^(n - 1), whose sum cancels without an error for n = 1 */
BPX_INLINE T F(expm1)(T x) {
    const T infinity = F(from_bits)(K(ABS_MASK) >> K(MANTISSA) << K(MANTISSA));
    const T shift = K(SHIFT) + (K(BIAS) - 1), z = x * K(LOG2E) + shift, k = z - shift;
    const T r = (x - k * K(LN2_HI)) - k * K(LN2_LO), t = F(power)(z);
    const T y = C(2.0) * ((t * r + (t - C(0.5))) + t * (r * r * F(poly_exp)(r, 1)));
    const T above = x < K(EXPM1_LOW) ? C(-1.0) : y, inside = x > K(EXP_BEYOND) ? infinity : above;
    return F(abs)(x) < C(0x1p-60) ? x : inside;
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

/* y = g / (g + 1) with 2 g = e^(2 |x|) - 1, where e^(2 |x|) = 2^n e^(2 h). Near 0 the rounding of g + 1
 * counts: in float y times, by g (1 - y), which is y too; in double a polynomial keeps to 2 units. */
BPX_INLINE T F(tanh)(T x) {
    const T a = F(abs)(x), shift = K(SHIFT) + K(BIAS), z = a * (C(2.0) * K(LOG2E)) + shift;
    const T k = z - shift, t = F(power)(z);
    const T h = (a - k * (C(0.5) * K(LN2_HI))) - k * (C(0.5) * K(LN2_LO));
    const T g = (t * h + (C(0.5) * t - C(0.5))) + t * (h * h) * F(poly_expm1_half)(h);
    const T far = g / (g + C(1.0)), near = F(tanh_near)(a, g, far);
    return F(with_sign)(a > K(TANH_END) ? C(1.0) : near, x);
}

/* 1 / cosh(x) = 2 h / (1 + h^2) with h = e^-|x|; 0 where h would not be normal */
BPX_INLINE T F(sech)(T x) {
    const T a = F(abs)(x), h = F(exp_normal)(-a), y = C(2.0) * h / (C(1.0) + h * h);
    return a > -K(EXP_NORMAL) ? 0 : y;
}

/* y = 1 / (1 + t) and t / (1 + t) with t = e^-|x|: the lower tail keeps its digits; there the rounding of
 * 1 + t counts y times in t (1 - y), which is y too. The numerator is chosen by bits: compilers would
 * make two divisions of a choice. */
BPX_INLINE T F(sigmoid)(T x) {
    const T t = F(exp_minus)(x);
    const U below = (U)0 - (F(bits)(x) >> (sizeof(T) * 8 - 1)), one = (U)K(BIAS) << K(MANTISSA);
    const T y = F(from_bits)((F(bits)(t) & below) | (one & ~below)) / (C(1.0) + t);
    return x < C(0.0) ? t - t * y : y;
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
