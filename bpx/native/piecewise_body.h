/* One element type. Comparisons are written so that a NaN fails them into the branch that keeps it. */

Y(relu) { return x <= 0 ? 0 : x; }
DX(relu) { return x <= 0 ? 0 : dy; /* x is y */ }

Y(relu6) { return x <= 0 ? 0 : (x >= 6 ? 6 : x); }
DX(relu6) { return x <= 0 || x >= 6 ? 0 : dy; /* x is y */ }

/* a is min_val, b max_val */
Y(hardtanh) { return x <= a ? a : (x >= b ? b : x); }
DX(hardtanh) { return x <= a || x >= b ? 0 : dy; }

/* By 1 / 6 and 1 / 3, whose rounding is half a unit: a division takes as long as all the rest. */
Y(hardsigmoid) { return x <= -3 ? 0 : (x >= 3 ? 1 : (x + 3) * (A)(1.0 / 6)); }
DX(hardsigmoid) { return x <= -3 || x >= 3 ? 0 : dy * (A)(1.0 / 6); }

Y(hardswish) { return x <= -3 ? 0 : (x >= 3 ? x : x * (x + 3) * (A)(1.0 / 6)); }
DX(hardswish) { return x <= -3 ? 0 : (x >= 3 ? dy : dy * (x * (A)(1.0 / 3) + (A)0.5)); }

Y(relu_squared) {
    const A r = x <= 0 ? 0 : x;
    return r * r;
}
DX(relu_squared) { return 2 * dy * (x <= 0 ? 0 : x); }

/* a is lambd */
Y(hardshrink) { return MATH(bpx_abs)(x) <= a ? 0 : x; }
DX(hardshrink) { return MATH(bpx_abs)(x) <= a ? 0 : dy; }

Y(softshrink) { return MATH(bpx_abs)(x) <= a ? 0 : (x < 0 ? x + a : x - a); }
DX(softshrink) { return MATH(bpx_abs)(x) <= a ? 0 : dy; }

Y(sparse_plus) { return x <= -1 ? 0 : (x >= 1 ? x : (x + 1) * (x + 1) / 4); }
DX(sparse_plus) {
    const A slope = (A)0.5 * x + (A)0.5, low = slope < 0 ? 0 : slope;
    return dy * (low > 1 ? 1 : low);
}

Y(sparse_sigmoid) { return x <= -1 ? 0 : (x >= 1 ? 1 : (A)0.5 * x + (A)0.5); }
DX(sparse_sigmoid) { return x <= -1 || x >= 1 ? 0 : (A)0.5 * dy; }

/* a is negative_slope; the mask is where x > 0 */
Y(leaky_relu) { return x > 0 ? x : a * x; }
M(leaky_relu) { return x > 0; }
DX_MASK(leaky_relu) { return m ? dy : a * dy; }

/* a is the threshold, b the value below it; the mask is where x <= a */
Y(threshold) { return x <= a ? b : x; }
M(threshold) { return x <= a; }
DX_MASK(threshold) { return m ? 0 : dy; }

BPX_INLINE A FN(step)(A x, A at, A below) { return x != x ? x : (x >= at ? 1 : below); }

Y(straight_through_sign) { return FN(step)(x, 0, -1); }
Y(straight_through_round) { return MATH(bpx_round)(x); }
Y(straight_through_binarize) { return FN(step)(x, a, 0); }

/* The mask is where x is farther away than clip: a, and b where a is the threshold */
Y(clipped_straight_through_sign) { return FN(step)(x, 0, -1); }
M(clipped_straight_through_sign) { return MATH(bpx_abs)(x) > a; }
DX_MASK(clipped_straight_through_sign) { return m ? 0 : dy; }

Y(clipped_straight_through_round) { return MATH(bpx_round)(x); }
M(clipped_straight_through_round) { return MATH(bpx_abs)(x) > a; }
DX_MASK(clipped_straight_through_round) { return m ? 0 : dy; }

Y(clipped_straight_through_binarize) { return FN(step)(x, a, 0); }
M(clipped_straight_through_binarize) { return MATH(bpx_abs)(x - a) > b; }
DX_MASK(clipped_straight_through_binarize) { return m ? 0 : dy; }

Y(spike_fast_sigmoid) { return FN(step)(x, 0, 0); }
DX(spike_fast_sigmoid) { /* a is slope; twice, since the square would overflow */
    const A inverse = 1 / (1 + a * MATH(bpx_abs)(x));
    return dy * inverse * inverse;
}

Y(spike_arctan) { return FN(step)(x, 0, 0); }
DX(spike_arctan) { /* (a / 2) / (1 + u^2); for |u| > 1 by 1 / u, whose square does not overflow */
    const A u = (A)1.5707963267948966 * a * x;
    const int far = MATH(bpx_abs)(u) > 1;
    const A w = far ? 1 / u : u, bump = 1 / (1 + w * w), factor = far ? w : 1;
    return (a * (A)0.5 * factor) * (factor * bump) * dy;
}

Y(spike_triangular) { return FN(step)(x, 0, 0); }
DX(spike_triangular) { /* a is width, b height */
    const A height = 1 - MATH(bpx_abs)(x) / a;
    return dy * (b * (height < 0 ? 0 : height));
}

BOTH(relu)
BOTH(relu6)
BOTH(hardtanh)
BOTH(hardsigmoid)
BOTH(hardswish)
BOTH(relu_squared)
BOTH(hardshrink)
BOTH(softshrink)
BOTH(sparse_plus)
BOTH(sparse_sigmoid)
BOTH(spike_fast_sigmoid)
BOTH(spike_arctan)
BOTH(spike_triangular)
FORWARD(straight_through_sign)
FORWARD(straight_through_round)
FORWARD(straight_through_binarize)
FORWARD_MASK(leaky_relu)
BACKWARD_MASK(leaky_relu)
FORWARD_MASK(threshold)
BACKWARD_MASK(threshold)
FORWARD_MASK(clipped_straight_through_sign)
BACKWARD_MASK(clipped_straight_through_sign)
FORWARD_MASK(clipped_straight_through_round)
BACKWARD_MASK(clipped_straight_through_round)
FORWARD_MASK(clipped_straight_through_binarize)
BACKWARD_MASK(clipped_straight_through_binarize)
