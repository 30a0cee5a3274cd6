"""gated_linear for JAX. Maths, shapes and source: bpx/fused/gated_linear.py."""

from bpx.fused.gated_linear import SPEC
from bpx.rule import Kernel
from bpx_jax._rule import Rule
from bpx_jax.activations.gated import GEGLU, GLU, REGLU, SWIGLU
from bpx_jax.layers import linear

UNITS = {
    "sigmoid": (GLU, {}),
    "silu": (SWIGLU, {}),
    "gelu": (GEGLU, {"approximate": "none"}),
    "gelu_tanh": (GEGLU, {"approximate": "tanh"}),
    "relu": (REGLU, {}),
}


def forward(x, gate, weight, bias, *, activation):
    unit, options = UNITS[activation]
    h = unit.plain.forward(x, gate, **options)[0]
    return linear.forward(h, weight, bias)


def backward(dy, arrays, residuals, needs, *, activation):
    # With h = x f(gate), computed again:
    #   dweight = dy^T h,  dbias = sum(dy), both over the rows
    #   dh = dy weight,  dx = dh f(gate),  dgate = dh x f'(gate)
    x, gate, weight, bias = arrays
    unit, options = UNITS[activation]
    h = unit.plain.forward(x, gate, **options)[0]
    of_linear = (True, True, needs[3])
    dh, dweight, dbias = linear.backward(dy, (h, weight, bias), (), of_linear)
    dx, dgate = unit.plain.backward(dh, (x, gate), (), needs[:2], **options)
    return dx, dgate, dweight, dbias


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.gated_linear"),
        Kernel("plain", forward, backward),
    ),
)


def gated_linear(x, gate, weight, bias=None, *, activation="silu"):
    """(x f(gate)) weight^T + bias; x and gate (*N I), weight (O I), bias (O). The product is not
    kept for backward. Maths: bpx/fused/gated_linear.py."""
    return RULE(x, gate, weight, bias, activation=activation)
