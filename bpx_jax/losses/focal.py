"""focal for JAX. Maths, shapes and source: bpx/losses/focal.py."""

import jax
import jax.numpy as jnp

from bpx.losses.focal import SPEC
from bpx_jax.losses._terms import terms


def lines(z, target, alpha):
    """(p, q, ce, miss, w)."""
    p, q = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    logp, logq = jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z)
    ce = -(target * logp + (1 - target) * logq)
    miss = target * q + (1 - target) * p
    w = 1.0 if alpha is None else alpha * target + (1 - alpha) * (1 - target)
    return p, q, ce, miss, w


def value(z, target, *, alpha, gamma):
    _, _, ce, miss, w = lines(z, target, alpha)
    return w * miss**gamma * ce


def dlogits(z, target, *, alpha, gamma):
    # w miss^gamma * ((1 - target) p - target q                through ce
    #                 + gamma (1 - 2 target) (p q / miss) ce)   through miss
    p, q, ce, miss, w = lines(z, target, alpha)
    gone = miss == 0  # miss underflowed, and miss^gamma with it
    ratio = p * q / jnp.where(gone, 1.0, miss)
    inner = (1 - target) * p - target * q + gamma * (1 - 2 * target) * ratio * ce
    return w * miss**gamma * inner


def dtarget(z, target, *, alpha, gamma):
    # miss^gamma * ((2 alpha - 1) ce                       through w
    #               - w logits)                            through ce
    # + w gamma miss^(gamma - 1) (q - p) ce                through miss
    p, q, ce, miss, w = lines(z, target, alpha)
    slope = -w * z
    if alpha is not None:
        slope = slope + (2 * alpha - 1) * ce
    slope = miss**gamma * slope
    return slope + w * gamma * miss ** (gamma - 1) * (q - p) * ce if gamma else slope


RULE = terms(SPEC, value, (dlogits, dtarget))


def focal(logits, target, *, alpha=0.25, gamma=2.0, reduction="mean"):
    """Cross-entropy of sigmoid(logits) (*N) with target (*N), times the probability of the other
    class to the power of gamma; alpha is the weight of target 1, None of none. Maths:
    bpx/losses/focal.py."""
    return RULE(logits, target, alpha=alpha, gamma=gamma, reduction=reduction)
