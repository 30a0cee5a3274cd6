"""Adam for JAX, with optax's signatures. Maths, options and source: bpx/optimizers/adam.py."""

from __future__ import annotations

from typing import Any

from bpx.optimizers.adam import SPEC
from bpx.profiles import profiled
from bpx_jax._transform import GradientTransformation, renamed
from bpx_jax.optimizers._adam import transformation

# decay is AdamW's here, and amsgrad has its own function
DECAY = ("weight_decay", "decoupled_weight_decay")


@profiled("adam", renamed, skip=(*DECAY, "max_corrected"), beyond=("eps_hat",))
def adam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> GradientTransformation:
    """As optax.adam.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added after the root.
        eps_root: added inside the root.
        mu_dtype: dtype of the first moment; None takes each parameter's.
        nesterov: look one step ahead in the first moment.
        eps_hat: add eps to the root of the uncorrected second moment, as keras does.

    Raises:
        SpecError: an option outside its limits.
    """
    return transformation(
        SPEC, learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, eps_hat=eps_hat
    )


@profiled("adam", renamed, skip=DECAY, beyond=("eps_hat", "max_corrected"))
def amsgrad(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    eps_hat: bool = False,
    max_corrected: bool = True,
) -> GradientTransformation:
    """As optax.amsgrad: the maximum is of the corrected second moment, unlike torch's amsgrad.

    Args:
        learning_rate, b1, b2, eps, eps_root, mu_dtype: as in `adam`.
        bias_correction_mu: divide the first moment by 1 - b1^t.
        bias_correction_nu: divide the second moment by 1 - b2^t before the maximum.
        eps_hat: as in `adam`.
        max_corrected: False takes the maximum before the correction, as torch and keras do.

    Raises:
        SpecError: an option outside its limits.
    """
    return transformation(
        SPEC,
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        amsgrad=True,
        bias_correction_mu=bias_correction_mu,
        bias_correction_nu=bias_correction_nu,
        eps_hat=eps_hat,
        max_corrected=max_corrected,
    )
