"""soft_margin for JAX. Maths, shapes and source: bpx/losses/soft_margin.py."""

import jax

from bpx.losses.soft_margin import SPEC
from bpx_jax.losses._terms import terms


def value(x, target):
    return jax.nn.softplus(-target * x)


def dx(x, target):
    # -target sigmoid(-target x)
    return -target * jax.nn.sigmoid(-target * x)


def dtarget(x, target):
    # -x sigmoid(-target x)
    return -x * jax.nn.sigmoid(-target * x)


RULE = terms(SPEC, value, (dx, dtarget))


def soft_margin(x, target, *, reduction="mean"):
    """log(1 + exp(-target * x)); x, target (*N). Maths: bpx/losses/soft_margin.py."""
    return RULE(x, target, reduction=reduction)
