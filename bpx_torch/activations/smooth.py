"""Smooth activations for PyTorch. Maths, choices and source: bpx/activations/smooth.py.

1 - sigmoid(x) is written sigmoid(-x), which keeps its digits where sigmoid(x) rounds to 1.
"""

import torch
from torch.nn.functional import logsigmoid

from bpx.activations import smooth as spec
from bpx_torch._elementwise import row

SQRT_HALF, SQRT_2_PI = 0.7071067811865476, 2.5066282746310002
TWO_SQRT_2_OVER_PI, CUBIC = 1.5957691216057308, 0.044715
FAR = 30.0  # where the slope of the tanh form's sigmoid is 0 even in float64


def _softplus(x, beta, threshold):
    u = beta * x
    return torch.where(u > threshold, x, -logsigmoid(-u) / beta)


def _dsoftplus(dy, x, beta, threshold):
    u = beta * x
    return torch.where(u > threshold, dy, dy * torch.sigmoid(u))


def _dsilu(dy, x):
    # s + x s', with s' = s (1 - s)
    s = torch.sigmoid(x)
    return dy * s * (1 + x * torch.sigmoid(-x))


def _mish(x):
    # With s = sigmoid(x), q = 1 - s: tanh(log(1 + e^x)) = (1 - q^2) / (1 + q^2) and 1 - q = s
    q = torch.sigmoid(-x)
    return x * torch.sigmoid(x) * (1 + q) / (1 + q * q)


def _dmish(dy, x):
    # The tanh itself, plus x times its derivative 4 s q^2 / (1 + q^2)^2
    s, q = torch.sigmoid(x), torch.sigmoid(-x)
    d = 1 + q * q
    return dy * s * ((1 + q) / d + 4 * (q / d).square() * x)


def _gelu(x, approximate):
    if approximate == "tanh":
        return x * torch.sigmoid(TWO_SQRT_2_OVER_PI * (x + CUBIC * x**3))
    return 0.5 * x * torch.special.erfc(-SQRT_HALF * x)


def _dgelu(dy, x, approximate):
    if approximate == "tanh":
        # s + x s (1 - s) u', with u the argument of the sigmoid
        u = TWO_SQRT_2_OVER_PI * (x + CUBIC * x**3)
        near = x.clamp(-FAR, FAR)
        du = TWO_SQRT_2_OVER_PI * (1 + 3 * CUBIC * near * near)
        return dy * torch.sigmoid(u) * (1 + near * torch.sigmoid(-u) * du)
    # Phi(x) + x phi(x)
    density = torch.exp(-0.5 * x * x) / SQRT_2_PI
    return dy * (0.5 * torch.special.erfc(-SQRT_HALF * x) + x * density)


SIGMOID = row(spec.sigmoid, torch.sigmoid, lambda dy, x: dy * torch.sigmoid(x) * torch.sigmoid(-x))
TANH = row(  # 1 - tanh(x)^2 = 4 sigmoid(2x) sigmoid(-2x)
    spec.tanh, torch.tanh, lambda dy, x: 4 * dy * torch.sigmoid(2 * x) * torch.sigmoid(-2 * x)
)
SOFTPLUS = row(spec.softplus, _softplus, _dsoftplus, autocast={"cuda": "float32"})
LOG_SIGMOID = row(spec.log_sigmoid, logsigmoid, lambda dy, x: dy * torch.sigmoid(-x))
SILU = row(spec.silu, lambda x: x * torch.sigmoid(x), _dsilu)
MISH = row(spec.mish, _mish, _dmish)
GELU = row(spec.gelu, _gelu, _dgelu)
SOFTSIGN = row(spec.softsign, lambda x: x / (1 + x.abs()), lambda dy, x: dy * (1 + x.abs()).pow(-2))
ARCTAN = row(spec.arctan, lambda x: torch.atan(x), lambda dy, x: dy / (1 + x * x))


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
