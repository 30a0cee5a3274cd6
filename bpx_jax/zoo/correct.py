"""Functions of jax.nn and optax, each beside a plain formula: correct candidates.

None may raise an alarm. Kinks are "free" where the formula's convention there is not theirs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bpx.verify import Float, Index
from bpx.verify.zoo import Correct


def sigmoid(x: Any) -> Any:
    return jnp.exp(-jnp.logaddexp(-x, 0.0))


def gelu(x: Any, approximate: bool = True) -> Any:
    if approximate:
        return 0.5 * x * (1 + jnp.tanh((2 / jnp.pi) ** 0.5 * (x + 0.044715 * x**3)))
    return 0.5 * x * jax.scipy.special.erfc(-x * 0.5**0.5)


def log_softmax(x: Any) -> Any:
    x = x - jax.lax.stop_gradient(x.max(-1, keepdims=True))
    return x - jnp.log(jnp.exp(x).sum(-1, keepdims=True))


def labelled(logits: Any, labels: Any) -> Any:
    return -(log_softmax(logits) * jax.nn.one_hot(labels, logits.shape[-1])).sum(-1)


ANY = [Float("*N")]
ROWS = [Float("N", "D")]
FOUND: dict[str, Correct] = {}  # nothing so far is said of JAX itself
CORRECT: tuple[Correct, ...] = (
    Correct("gelu", jax.nn.gelu, ANY, {"ref": gelu, "options": {"approximate": [True, False]}}),
    Correct("silu", jax.nn.silu, ANY, {"ref": lambda x: x * sigmoid(x)}),
    Correct("softplus", jax.nn.softplus, ANY, {"ref": lambda x: -jnp.log(sigmoid(-x)),
                                               "kinks": "free"}),
    Correct("leaky_relu", jax.nn.leaky_relu, ANY,
            {"ref": lambda x: jnp.where(x >= 0, x, 0.01 * x)}),
    Correct("log_softmax", jax.nn.log_softmax, ROWS, {"ref": log_softmax}),
)  # fmt: skip

try:
    from optax import losses
except ImportError:
    pass
else:
    CORRECT += (
        Correct("optax.losses.squared_error", losses.squared_error, [*ROWS, *ROWS],
                {"ref": lambda x, t: (x - t) * (x - t)}),
        Correct("optax.losses.softmax_cross_entropy_with_integer_labels",
                losses.softmax_cross_entropy_with_integer_labels,
                [Float("N", "V"), Index("N", below="V")], {"ref": labelled}),
    )  # fmt: skip
