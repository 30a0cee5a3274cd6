/* One element type. s is sigmoid(x) and q is 1 - s, both with all their digits. */

BPX_INLINE A FN(logistic)(A x, A *q) {
    const A t = MATH(bpx_exp_minus)(x), inverse = 1 / (1 + t);
    *q = x < 0 ? inverse : t * inverse;
    return x < 0 ? t * inverse : inverse;
}

/* s q = t / (1 + t)^2 with t = e^-|x|, even in x */
BPX_INLINE A FN(dlogistic)(A x) {
    const A t = MATH(bpx_exp_minus)(x), sum = 1 + t;
    return t / (sum * sum);
}

Y(sigmoid) { return MATH(bpx_sigmoid)(x); }
DX(sigmoid) { return dy * FN(dlogistic)(x); }

Y(tanh) { return MATH(bpx_tanh)(x); }
DX(tanh) { /* 1 / cosh^2 */
    const A sech = MATH(bpx_sech)(x);
    return dy * sech * sech;
}

/* log(1 + e^u) = max(u, 0) + log(1 + e^-|u|) */
BPX_INLINE A FN(log_one_plus_exp)(A u) {
    return (u < 0 ? 0 : u) + MATH(bpx_log1p_of)(MATH(bpx_exp_minus)(u), 0);
}

/* a is beta, b the threshold */
Y(softplus) { return a * x > b ? x : FN(log_one_plus_exp)(a * x) / a; }
DX(softplus) { return a * x > b ? dy : dy * MATH(bpx_sigmoid)(a * x); }

Y(log_sigmoid) { return -FN(log_one_plus_exp)(-x); }
DX(log_sigmoid) { return dy * MATH(bpx_sigmoid)(-x); }

Y(silu) {
    A q;
    return x * FN(logistic)(x, &q);
}
DX(silu) {
    A q;
    const A s = FN(logistic)(x, &q);
    return dy * (s * (1 + x * q)); /* s + x s' */
}

/* tanh(log(1 + e^x)) = (1 - q^2) / (1 + q^2), where 1 - q = s */
Y(mish) {
    A q;
    const A s = FN(logistic)(x, &q);
    return x * (s * (1 + q) / (1 + q * q));
}
DX(mish) {
    A q;
    const A s = FN(logistic)(x, &q), inverse = 1 / (1 + q * q), r = q * inverse;
    return dy * (s * ((1 + q) * inverse /* the tanh */
                      + 4 * r * r * x)); /* and x times its derivative */
}

Y(gelu_none) {
    A density;
    return x * MATH(bpx_ndtr)(x, &density);
}
DX(gelu_none) { /* Phi(x) + x phi(x) */
    A density;
    const A phi = MATH(bpx_ndtr)(x, &density);
    return dy * (phi + x * density * (A)0.39894228040143268);
}

/* x s(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3) */
Y(gelu_tanh) {
    A q;
    return x * FN(logistic)((A)1.5957691216057308 * (x + (A)0.044715 * (x * x * x)), &q);
}
DX(gelu_tanh) {
    A q;
    const A s = FN(logistic)((A)1.5957691216057308 * (x + (A)0.044715 * (x * x * x)), &q);
    const A low = x < -30 ? -30 : x, near = low > 30 ? 30 : low; /* q s is 0 beyond */
    const A du = (A)1.5957691216057308 * (1 + (A)0.134145 * near * near);
    return dy * (s * (1 + near * q * du)); /* s + x s q u' */
}

Y(softsign) { return x / (1 + MATH(bpx_abs)(x)); }
DX(softsign) {
    const A inverse = 1 / (1 + MATH(bpx_abs)(x));
    return dy * inverse * inverse;
}

Y(arctan) { return MATH(bpx_atan)(x); }
DX(arctan) { return dy / (1 + x * x); }

/* a is alpha */
Y(elu) { return x > 0 ? x : a * MATH(bpx_expm1)(x); }
DX(elu) { return x > 0 ? dy : dy * (a * MATH(bpx_exp)(x)); }

Y(selu) { return (A)1.0507009873554805 * (x > 0 ? x : (A)1.6732632423543772 * MATH(bpx_expm1)(x)); }
DX(selu) {
    return dy * ((A)1.0507009873554805 * (x > 0 ? 1 : (A)1.6732632423543772 * MATH(bpx_exp)(x)));
}

Y(celu) { return x > 0 ? x : a * MATH(bpx_expm1)(x / a); }
DX(celu) { return x > 0 ? dy : dy * MATH(bpx_exp)(x / a); }

/* Near 0 the polynomial of tanh without its x: no difference */
Y(tanhshrink) {
    const A z = x * x;
    return MATH(bpx_abs)(x) < (A)0.63 ? -(x * z * MATH(bpx_poly_tanh)(z)) : x - MATH(bpx_tanh)(x);
}
DX(tanhshrink) {
    const A t = MATH(bpx_tanh)(x);
    return dy * (t * t);
}

/* sqrt(x^2 + b), a being b here, as sqrt(b) sqrt(1 + x^2 / b), and |x| where b changes no digit of it:
 * neither square overflows. */
BPX_INLINE A FN(root)(A x, A a) {
    const A size = MATH(bpx_abs)(x), b = SQRT(a), far = b * (A)(sizeof(A) == 4 ? 0x1p13 : 0x1p27);
    const A u = x * (1 / b);
    return size > far ? size : b * SQRT(1 + u * u);
}
/* (x + root) / 2, below 0 without a difference */
BPX_INLINE A FN(squareplus_of)(A x, A root, A a) {
    return x < 0 ? (A)0.5 * a / (root - x) : (A)0.5 * x + (A)0.5 * root;
}
Y(squareplus) { return FN(squareplus_of)(x, FN(root)(x, a), a); }
DX(squareplus) { /* y / root */
    const A root = FN(root)(x, a);
    return dy * (FN(squareplus_of)(x, root, a) / root);
}

BOTH(sigmoid)
BOTH(tanh)
BOTH(softplus)
BOTH(log_sigmoid)
BOTH(silu)
BOTH(mish)
BOTH(gelu_none)
BOTH(gelu_tanh)
BOTH(softsign)
BOTH(arctan)
BOTH(elu)
BOTH(selu)
BOTH(celu)
BOTH(tanhshrink)
BOTH(squareplus)
