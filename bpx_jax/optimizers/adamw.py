"""AdamW for JAX, with optax's signature. Maths, options and source: bpx/optimizers/adamw.py."""

from __future__ import annotations

from typing import Any

from bpx.optimizers.adamw import SPEC
from bpx.profiles import profiled
from bpx_jax._transform import Decay, GradientTransformation, renamed
from bpx_jax.optimizers._adam import transformation


@profiled("adamw", renamed, beyond=("eps_hat",))
def adamw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> GradientTransformation:
    """As optax.adamw: `update` needs the parameters.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1, b2, eps, eps_root, mu_dtype, nesterov, eps_hat: as in `adam`.
        weight_decay: a number, or a schedule; multiplied by the learning rate.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    decay = Decay(SPEC.name, weight_decay, mask)
    return transformation(
        SPEC,
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        nesterov=nesterov,
        decay=decay,
        eps_hat=eps_hat,
    )
