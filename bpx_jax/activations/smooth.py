"""Smooth activations for JAX. Maths, choices and source: bpx/activations/smooth.py.

1 - sigmoid(x) is written sigmoid(-x), which keeps its digits where sigmoid(x) rounds to 1.
"""

import jax
import jax.numpy as jnp

from bpx.activations import smooth as spec
from bpx_jax._elementwise import row

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
TWO_SQRT_2_OVER_PI, CUBIC = 1.5957691216057308, 0.044715
FAR = 30.0  # where the slope of the tanh form's sigmoid is 0 even in float64


def _softplus(x, beta, threshold):
    u = beta * x
    return jnp.where(u > threshold, x, -jax.nn.log_sigmoid(-u) / beta)


def _dsoftplus(dy, x, beta, threshold):
    u = beta * x
    return jnp.where(u > threshold, dy, dy * jax.nn.sigmoid(u))


def _dsilu(dy, x):
    # s + x s', with s' = s (1 - s)
    s = jax.nn.sigmoid(x)
    return dy * s * (1 + x * jax.nn.sigmoid(-x))


def _mish(x):
    # With s = sigmoid(x), q = 1 - s: tanh(log(1 + e^x)) = (1 - q^2) / (1 + q^2) and 1 - q = s
    q = jax.nn.sigmoid(-x)
    return x * jax.nn.sigmoid(x) * (1 + q) / (1 + q * q)


def _dmish(dy, x):
    # The tanh itself, plus x times its derivative 4 s q^2 / (1 + q^2)^2
    s, q = jax.nn.sigmoid(x), jax.nn.sigmoid(-x)
    d = 1 + q * q
    return dy * s * ((1 + q) / d + 4 * jnp.square(q / d) * x)


def _gelu(x, approximate):
    if approximate == "tanh":
        return x * jax.nn.sigmoid(TWO_SQRT_2_OVER_PI * (x + CUBIC * x**3))
    return 0.5 * x * jax.lax.erfc(-SQRT_HALF * x)


def _dgelu(dy, x, approximate):
    if approximate == "tanh":
        # s + x s (1 - s) u', with u the argument of the sigmoid
        u = TWO_SQRT_2_OVER_PI * (x + CUBIC * x**3)
        near = jnp.clip(x, -FAR, FAR)
        du = TWO_SQRT_2_OVER_PI * (1 + 3 * CUBIC * near * near)
        return dy * jax.nn.sigmoid(u) * (1 + near * jax.nn.sigmoid(-u) * du)
    # Phi(x) + x phi(x)
    density = jnp.exp(-0.5 * x * x) / SQRT_2_PI
    return dy * (0.5 * jax.lax.erfc(-SQRT_HALF * x) + x * density)


SIGMOID = row(
    spec.sigmoid, jax.nn.sigmoid, lambda dy, x: dy * jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)
)
TANH = row(  # 1 - tanh(x)^2 = 4 sigmoid(2x) sigmoid(-2x)
    spec.tanh, jnp.tanh, lambda dy, x: 4 * dy * jax.nn.sigmoid(2 * x) * jax.nn.sigmoid(-2 * x)
)
SOFTPLUS = row(spec.softplus, _softplus, _dsoftplus)
LOG_SIGMOID = row(spec.log_sigmoid, jax.nn.log_sigmoid, lambda dy, x: dy * jax.nn.sigmoid(-x))
SILU = row(spec.silu, lambda x: x * jax.nn.sigmoid(x), _dsilu)
MISH = row(spec.mish, _mish, _dmish)
GELU = row(spec.gelu, _gelu, _dgelu)
SOFTSIGN = row(
    spec.softsign, lambda x: x / (1 + jnp.abs(x)), lambda dy, x: dy * (1 + jnp.abs(x)) ** -2
)
ARCTAN = row(spec.arctan, lambda x: jnp.arctan(x), lambda dy, x: dy / (1 + x * x))


def sigmoid(x):
    """Logistic sigmoid of x (any shape). Derivative: sigmoid(x) sigmoid(-x)."""
    return SIGMOID(x)


def tanh(x):
    """Hyperbolic tangent of x (any shape). Derivative: 1 / cosh(x)^2."""
    return TANH(x)


def softplus(x, *, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta of x (any shape), x itself where beta x > threshold."""
    return SOFTPLUS(x, beta=beta, threshold=threshold)


def log_sigmoid(x):
    """Logarithm of the sigmoid of x (any shape). Derivative: sigmoid(-x)."""
    return LOG_SIGMOID(x)


def silu(x):
    """x sigmoid(x), element by element (any shape)."""
    return SILU(x)


def mish(x):
    """x tanh(log(1 + e^x)), element by element (any shape)."""
    return MISH(x)


def gelu(x, *, approximate="none"):
    """x Phi(x), element by element (any shape); approximate="tanh" replaces Phi by a sigmoid."""
    return GELU(x, approximate=approximate)


def softsign(x):
    """x / (1 + |x|), element by element (any shape)."""
    return SOFTSIGN(x)


def arctan(x):
    """Inverse tangent of x (any shape), in radians. Derivative: 1 / (1 + x^2)."""
    return ARCTAN(x)


RULES = {
    rule.spec.name: rule
    for rule in (SIGMOID, TANH, SOFTPLUS, LOG_SIGMOID, SILU, MISH, GELU, SOFTSIGN, ARCTAN)
}
