/* The losses that term_losses_body.h runs: LOSS(name, number of arguments). Options that
 * decide what is computed make a kernel of their own. */
#define BPX_TERM_LOSSES(LOSS)                                                                  \
    LOSS(binary_cross_entropy, 3)                                                              \
    LOSS(binary_cross_entropy_with_logits, 4)                                                  \
    LOSS(kl_div, 2)                                                                            \
    LOSS(kl_div_log, 2)                                                                        \
    LOSS(poisson_nll, 2)                                                                       \
    LOSS(poisson_nll_full, 2)                                                                  \
    LOSS(poisson_nll_rate, 2)                                                                  \
    LOSS(poisson_nll_rate_full, 2)                                                             \
    LOSS(gaussian_nll, 3)                                                                      \
    LOSS(hinge_embedding, 2)                                                                   \
    LOSS(soft_margin, 2)                                                                       \
    LOSS(margin_ranking, 3)                                                                    \
    LOSS(focal, 2)                                                                             \
    LOSS(focal_any, 2)
