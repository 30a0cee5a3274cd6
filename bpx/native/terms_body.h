/* The terms of losses and their slopes for one element type: the table of term_losses_body.h.
 *
 * value_<loss>(x, t, v, w, o) is the loss of one place, slope<k>_<loss> its derivative in argument k.
 * An absent argument is 1. o are three options, as the rules number them. */
#define X A x, A t, A v, A w, const A *o

BPX_INLINE A FN(at_least)(A x, A low) { return x < low ? low : x; } /* NaN stays */

/* log(1 + e^x) - max(x, 0) = log(1 + e^-|x|), the same for x and -x */
BPX_INLINE A FN(softplus_tail)(A x) { return MATH(bpx_log1p)(MATH(bpx_exp)(x < 0 ? x : -x)); }
BPX_INLINE A FN(softplus)(A x) { return FN(softplus_tail)(x) + FN(at_least)(x, 0); }

/* binary_cross_entropy: probabilities x, target t, weight v; logarithms at least -100 */
BPX_INLINE A FN(logp)(A x) { return FN(at_least)(MATH(bpx_log)(x), -100); }
BPX_INLINE A FN(logq)(A x) { return FN(at_least)(MATH(bpx_log1p)(-x), -100); }
BPX_INLINE A FN(slope2_binary_cross_entropy)(X) {
    (void)v, (void)w, (void)o;
    return -(t * FN(logp)(x) + (1 - t) * FN(logq)(x));
}
BPX_INLINE A FN(value_binary_cross_entropy)(X) {
    return FN(slope2_binary_cross_entropy)(x, t, v, w, o) * v;
}
BPX_INLINE A FN(slope0_binary_cross_entropy)(X) {
    (void)w, (void)o;
    const A spread = x * (1 - x);
    return v * ((x - t) / (spread < 0 ? (A)NAN : FN(at_least)(spread, (A)1e-12)));
}
BPX_INLINE A FN(slope1_binary_cross_entropy)(X) {
    (void)t, (void)w, (void)o;
    return v * (FN(logq)(x) - FN(logp)(x));
}

/* binary_cross_entropy_with_logits: logits x, target t, weight v, pos_weight w */
BPX_INLINE A FN(slope2_binary_cross_entropy_with_logits)(X) {
    (void)v, (void)o;
    const A tail = FN(softplus_tail)(x);
    return w * (t * (tail + FN(at_least)(-x, 0))) + (1 - t) * (tail + FN(at_least)(x, 0));
}
BPX_INLINE A FN(value_binary_cross_entropy_with_logits)(X) {
    return v * FN(slope2_binary_cross_entropy_with_logits)(x, t, v, w, o);
}
BPX_INLINE A FN(slope0_binary_cross_entropy_with_logits)(X) {
    (void)o;
    return v * ((1 - t) * MATH(bpx_sigmoid)(x) - w * (t * MATH(bpx_sigmoid)(-x)));
}
BPX_INLINE A FN(slope1_binary_cross_entropy_with_logits)(X) {
    (void)t, (void)o;
    const A tail = FN(softplus_tail)(x);
    return v * (w * (tail + FN(at_least)(-x, 0)) - (tail + FN(at_least)(x, 0)));
}
BPX_INLINE A FN(slope3_binary_cross_entropy_with_logits)(X) {
    (void)w, (void)o;
    return v * (t * FN(softplus)(-x));
}

/* An option as a kernel of its own: its functions are those of another name with more arguments. */
#define VARIANT(name, of, ...)                                                                 \
    BPX_INLINE A FN(value_##name)(X) {                                                         \
        (void)v, (void)w;                                                                      \
        return FN(value_##of)(x, t, o, __VA_ARGS__);                                           \
    }                                                                                          \
    BPX_INLINE A FN(slope0_##name)(X) {                                                        \
        (void)v, (void)w;                                                                      \
        return FN(slope0_##of)(x, t, o, __VA_ARGS__);                                          \
    }                                                                                          \
    BPX_INLINE A FN(slope1_##name)(X) {                                                        \
        (void)v, (void)w;                                                                      \
        return FN(slope1_##of)(x, t, o, __VA_ARGS__);                                          \
    }

/* kl_div: log-probabilities x, probabilities t or their logarithms */
BPX_INLINE A FN(gap)(A x, A t, A p, int log) {
    return p == 0 ? 0 : (log ? t : MATH(bpx_log)(t)) - x;
}
BPX_INLINE A FN(value_divergence)(A x, A t, const A *o, int log) {
    (void)o;
    const A p = log ? MATH(bpx_exp)(t) : t;
    return p * FN(gap)(x, t, p, log);
}
BPX_INLINE A FN(slope0_divergence)(A x, A t, const A *o, int log) {
    (void)x, (void)o;
    return -(log ? MATH(bpx_exp)(t) : t);
}
BPX_INLINE A FN(slope1_divergence)(A x, A t, const A *o, int log) {
    (void)o;
    const A p = log ? MATH(bpx_exp)(t) : t, gap = FN(gap)(x, t, p, log) + 1;
    return log ? p * gap : (p == 0 ? 0 : gap);
}
VARIANT(kl_div, divergence, 0)
VARIANT(kl_div_log, divergence, 1)

/* poisson_nll: log-rates x, or rates, to which eps o[0] is added; Stirling's term for counts t > 1 */
BPX_INLINE A FN(value_poisson)(A x, A t, const A *o, int rate, int full) {
    const A n = t > 1 ? t : 1;
    const A loss = rate ? x - t * MATH(bpx_log)(x + o[0]) : MATH(bpx_exp)(x) - t * x;
    if (!full) return loss;
    const A stirling = (n + (A)0.5) * MATH(bpx_log)(n) - n + (A)0.91893853320467274178;
    return loss + (t > 1 ? stirling : 0);
}
BPX_INLINE A FN(slope0_poisson)(A x, A t, const A *o, int rate, int full) {
    (void)full;
    return rate ? 1 - t / (x + o[0]) : MATH(bpx_exp)(x) - t;
}
BPX_INLINE A FN(slope1_poisson)(A x, A t, const A *o, int rate, int full) {
    const A n = t > 1 ? t : 1, slope = rate ? -MATH(bpx_log)(x + o[0]) : -x;
    if (!full) return slope;
    const A stirling = MATH(bpx_log)(n) + (A)0.5 / n;
    return slope + (t > 1 ? stirling : 0);
}
VARIANT(poisson_nll, poisson, 0, 0)
VARIANT(poisson_nll_full, poisson, 0, 1)
VARIANT(poisson_nll_rate, poisson, 1, 0)
VARIANT(poisson_nll_rate_full, poisson, 1, 1)

/* gaussian_nll: mean x, target t, variance v at least eps o[0]; with log(2 pi) / 2 where o[1] */
BPX_INLINE A FN(value_gaussian_nll)(X) {
    (void)w;
    const A s = FN(at_least)(v, o[0]), e = x - t;
    return (A)0.5 * (MATH(bpx_log)(s) + e * e / s) + (o[1] != 0 ? (A)0.91893853320467274178 : 0);
}
BPX_INLINE A FN(slope0_gaussian_nll)(X) {
    (void)w;
    return (x - t) / FN(at_least)(v, o[0]);
}
BPX_INLINE A FN(slope1_gaussian_nll)(X) {
    (void)w;
    return (t - x) / FN(at_least)(v, o[0]);
}
BPX_INLINE A FN(slope2_gaussian_nll)(X) {
    (void)w;
    const A s = FN(at_least)(v, o[0]), e = x - t;
    return (A)0.5 * (1 - e * e / s) / s;
}

/* hinge_embedding: distance x, target t, margin o[0] */
BPX_INLINE A FN(value_hinge_embedding)(X) {
    (void)v, (void)w;
    return (A)0.5 * ((1 + t) * x + (1 - t) * FN(at_least)(o[0] - x, 0));
}
BPX_INLINE A FN(slope0_hinge_embedding)(X) {
    (void)v, (void)w;
    return (A)0.5 * (1 + t - (o[0] - x >= 0 ? 1 - t : 0));
}
BPX_INLINE A FN(slope1_hinge_embedding)(X) {
    (void)t, (void)v, (void)w;
    return (A)0.5 * (x - FN(at_least)(o[0] - x, 0));
}

/* soft_margin: score x, target t */
BPX_INLINE A FN(value_soft_margin)(X) {
    (void)v, (void)w, (void)o;
    return FN(softplus)(-(t * x));
}
BPX_INLINE A FN(slope0_soft_margin)(X) {
    (void)v, (void)w, (void)o;
    return -t * MATH(bpx_sigmoid)(-(t * x));
}
BPX_INLINE A FN(slope1_soft_margin)(X) {
    (void)v, (void)w, (void)o;
    return -x * MATH(bpx_sigmoid)(-(t * x));
}

/* margin_ranking: scores x and t, target v, margin o[0] */
BPX_INLINE A FN(value_margin_ranking)(X) {
    (void)w;
    return FN(at_least)(o[0] - v * (x - t), 0);
}
BPX_INLINE A FN(slope0_margin_ranking)(X) {
    (void)w;
    return o[0] - v * (x - t) >= 0 ? -v : 0;
}
BPX_INLINE A FN(slope1_margin_ranking)(X) {
    (void)w;
    return o[0] - v * (x - t) >= 0 ? v : 0;
}
BPX_INLINE A FN(slope2_margin_ranking)(X) {
    (void)w;
    return o[0] - v * (x - t) >= 0 ? t - x : 0;
}

/* focal: logits x, target t; alpha o[0] where o[1], gamma o[2] of 0, 1, 2 or 3, or any */
BPX_INLINE A FN(power)(A m, A gamma, int any) {
    if (any) return sizeof(A) == sizeof(double)
                        ? (A)pow(m, gamma)
                        : (A)bpx_exp_f64((double)gamma * bpx_log_f64((double)m));
    const A first = gamma > 0 ? m : 1, second = gamma > 1 ? m : 1, third = gamma > 2 ? m : 1;
    return first * second * third;
}
BPX_INLINE A FN(focal_weight)(A t, const A *o) {
    return o[1] != 0 ? o[0] * t + (1 - o[0]) * (1 - t) : 1;
}
BPX_INLINE A FN(focal_ce)(A x, A t) {
    const A tail = FN(softplus_tail)(x);
    return t * (tail + FN(at_least)(-x, 0)) + (1 - t) * (tail + FN(at_least)(x, 0));
}
BPX_INLINE A FN(value_focused)(A x, A t, const A *o, int any) {
    const A miss = t * MATH(bpx_sigmoid)(-x) + (1 - t) * MATH(bpx_sigmoid)(x);
    return FN(focal_weight)(t, o) * FN(power)(miss, o[2], any) * FN(focal_ce)(x, t);
}
/* w miss^gamma * ((1 - t) p - t q                              through ce
 *                 + gamma (1 - 2 t) (p q / miss) ce)           through miss */
BPX_INLINE A FN(slope0_focused)(A x, A t, const A *o, int any) {
    const A p = MATH(bpx_sigmoid)(x), q = MATH(bpx_sigmoid)(-x), miss = t * q + (1 - t) * p;
    const A ratio = p * q / (miss == 0 ? 1 : miss); /* 0 underflowed, and miss^gamma with it */
    const A inner = (1 - t) * p - t * q + o[2] * (1 - 2 * t) * ratio * FN(focal_ce)(x, t);
    return FN(focal_weight)(t, o) * FN(power)(miss, o[2], any) * inner;
}
/* miss^gamma * ((2 alpha - 1) ce - w x)                        through w, through ce
 * + w gamma miss^(gamma - 1) (q - p) ce                        through miss */
BPX_INLINE A FN(slope1_focused)(A x, A t, const A *o, int any) {
    const A p = MATH(bpx_sigmoid)(x), q = MATH(bpx_sigmoid)(-x), miss = t * q + (1 - t) * p;
    const A ce = FN(focal_ce)(x, t), weight = FN(focal_weight)(t, o);
    const A tilt = o[1] != 0 ? 2 * o[0] - 1 : 0, slope = tilt * ce - weight * x;
    return FN(power)(miss, o[2], any) * slope +
           weight * o[2] * FN(power)(miss, o[2] - 1, any) * (q - p) * ce;
}
VARIANT(focal, focused, 0)
VARIANT(focal_any, focused, 1)

#undef VARIANT
#undef X
