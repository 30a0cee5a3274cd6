"""jax.nn's names and signatures over the rules of bpx, and linear, layer_norm, prelu and affine.

At a kink the derivative is torch's: leaky_relu(0) has negative_slope, hard_tanh(-1) and
hard_tanh(1) have 0, where jax.nn has 1. Inputs are floating; slopes and other options are Python
numbers, an axis is one integer. GAPS has a reason for every other function of jax.nn.
Layers with `init` and `apply`, their parameters plain dicts, come from bpx_jax.modules.
"""

import jax.numpy as jnp

from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_jax._nn_attention import dot_product_attention
from bpx_jax._nn_conv import conv, conv_transpose
from bpx_jax._nn_dropout import dropout
from bpx_jax._nn_gated import glu
from bpx_jax._nn_normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from bpx_jax._nn_recurrent import gru, lstm
from bpx_jax.activations import exponential, piecewise, smooth, sparse
from bpx_jax.activations.gated import geglu, reglu, swiglu
from bpx_jax.activations.sparse import sparse_plus, sparse_sigmoid
from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy
from bpx_jax.layers import cosine_similarity as _cosine_similarity
from bpx_jax.layers import log_softmax as _log_softmax
from bpx_jax.layers import softmax as _softmax
from bpx_jax.layers.adaptive_avg_pool import adaptive_avg_pool
from bpx_jax.layers.adaptive_max_pool import adaptive_max_pool
from bpx_jax.layers.affine import affine
from bpx_jax.layers.avg_pool import avg_pool
from bpx_jax.layers.bilinear import bilinear
from bpx_jax.layers.embedding import embedding
from bpx_jax.layers.embedding_bag import embedding_bag
from bpx_jax.layers.flatten import flatten
from bpx_jax.layers.linear import linear
from bpx_jax.layers.linear_recurrence import linear_recurrence
from bpx_jax.layers.max_pool import max_pool
from bpx_jax.layers.prelu import prelu
from bpx_jax.layers.rnn import rnn
from bpx_jax.layers.rope import rope
from bpx_jax.layers.upsample_linear import upsample_linear
from bpx_jax.layers.upsample_nearest import upsample_nearest
from bpx_jax.modules import *  # noqa: F403 - layers with init and apply, its __all__

__all__ = [  # noqa: RUF022 - in the order of the rules
    "sigmoid",
    "tanh",
    "softplus",
    "log_sigmoid",
    "silu",
    "swish",
    "mish",
    "gelu",
    "soft_sign",
    "elu",
    "selu",
    "celu",
    "relu",
    "leaky_relu",
    "relu6",
    "hard_tanh",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "relu_squared",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "glu",
    "swiglu",
    "geglu",
    "reglu",
    "softmax",
    "log_softmax",
    "affine",
    "dot_product_attention",
    "batch_norm",
    "conv",
    "conv_transpose",
    "dropout",
    "embedding",
    "embedding_bag",
    "flatten",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "linear",
    "prelu",
    "rope",
    "rms_norm",
    "rnn",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "max_pool",
    "upsample_nearest",
    "upsample_linear",
    "gru",
    "lstm",
    "linear_recurrence",
    "bilinear",
    "cosine_similarity",
    "linear_cross_entropy",
]


def sigmoid(x):
    return smooth.sigmoid(x)


def tanh(x, /):
    return smooth.tanh(x)


@profiled("softplus", beyond=("beta", "threshold"))
def softplus(x, *, beta=1.0, threshold=float("inf")):
    """Without torch's threshold, above which torch returns x itself."""
    return smooth.softplus(x, beta=beta, threshold=threshold)


def log_sigmoid(x):
    return smooth.log_sigmoid(x)


def silu(x):
    return smooth.silu(x)


swish = silu


def mish(x):
    return smooth.mish(x)


@profiled("gelu", lambda o: {"approximate": o["approximate"] == "tanh"})
def gelu(x, approximate=True):
    return smooth.gelu(x, approximate="tanh" if approximate else "none")


def soft_sign(x):
    return smooth.softsign(x)


def elu(x, alpha=1.0):
    return exponential.elu(x, alpha=_number("elu", "alpha", alpha))


def selu(x):
    return exponential.selu(x)


def celu(x, alpha=1.0):
    return exponential.celu(x, alpha=_number("celu", "alpha", alpha))


def relu(x):
    return piecewise.relu(x)


@profiled("leaky_relu")
def leaky_relu(x, negative_slope=0.01):
    slope = _number("leaky_relu", "negative_slope", negative_slope)
    return piecewise.leaky_relu(x, negative_slope=slope)


def relu6(x):
    return piecewise.relu6(x)


def hard_tanh(x):
    return piecewise.hardtanh(x)


def hard_sigmoid(x):
    return piecewise.hardsigmoid(x)


def hard_silu(x):
    return piecewise.hardswish(x)


hard_swish = hard_silu


def relu_squared(x):
    return piecewise.relu_squared(x)


cosine_similarity = profiled("cosine_similarity")(_cosine_similarity.cosine_similarity)


def squareplus(x, b=4):
    return sparse.squareplus(x, b=_number("squareplus", "b", b))


def softmax(x, axis=-1, where=None):
    """Elements outside `where` are left out and give 0.

    >>> softmax(jnp.array([1.0, 1.0, 5.0]), where=jnp.array([True, True, False]))
    Array([0.5, 0.5, 0. ], dtype=float32)
    """
    return _over(_softmax.softmax, x, axis, where, 0.0)


def log_softmax(x, axis=-1, where=None):
    """Elements outside `where` are left out and give -inf."""
    return _over(_log_softmax.log_softmax, x, axis, where, -jnp.inf)


def _over(rule, x, axis, where, outside):
    if where is None:
        return rule(x, dim=axis)
    x = jnp.asarray(x)
    where = jnp.broadcast_to(where, x.shape)
    y = rule(jnp.where(where, x, -jnp.inf), dim=axis)
    return jnp.where(where, y, outside)  # a row without any element is NaN


def _number(entry, option, value):
    try:
        return float(value)
    except TypeError as error:
        raise SpecError(f"{entry}: {option} is {value!r}, expected a Python number") from error


_REASONS = {
    "normalisation: not written yet": "standardize",
    "reduction: not written yet": "log1mexp logmeanexp logsumexp",
    "integers in, no gradient": "one_hot",
    "scaled matrix product: not written yet": """get_scaled_dot_general_config scaled_dot_general
        scaled_matmul""",
    "moves elements and computes nothing": "identity",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
