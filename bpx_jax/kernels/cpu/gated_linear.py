"""gated_linear for JAX on the CPU: the unit by the native core, forward and again in backward.
Maths, shapes and source: bpx/fused/gated_linear.py."""

from types import SimpleNamespace

from jax import lax

from bpx_jax._dtype import at_least_float32
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu.gated import kernel

UNITS = {
    "sigmoid": (kernel(SimpleNamespace(name="glu")), {}),
    "silu": (kernel(SimpleNamespace(name="swiglu")), {}),
    "gelu": (kernel(SimpleNamespace(name="geglu")), {"approximate": "none"}),
    "gelu_tanh": (kernel(SimpleNamespace(name="geglu")), {"approximate": "tanh"}),
    "relu": (kernel(SimpleNamespace(name="reglu")), {}),
}


PAYS = 1 << 22  # elements of x from which a unit that XLA fuses well pays, too


def refuses(arrays, dims):
    activation, n = dims["activation"], arrays[0].size
    if activation != "gelu" and n < PAYS:
        return f"XLA's own {activation} is as fast for {n:,} elements"
    return _ffi.refuses(arrays[:2])


def forward(x, gate, weight, bias, *, activation):
    unit, options = UNITS[activation]
    h = unit.forward(x, gate, **options)[0]
    y = lax.dot_general(h, weight, (((h.ndim - 1,), (1,)), ((), ())))
    return (y if bias is None else y + bias.reshape((1,) * (h.ndim - 1) + bias.shape)), ()


def backward(dy, arrays, residuals, needs, *, activation):
    # With h = x f(gate), computed again:
    #   dweight = dy^T h,  dbias = sum(dy), both over the rows
    #   dh = dy weight,  dx = dh f(gate),  dgate = dh x f'(gate)
    x, gate, weight, _ = arrays
    unit, options = UNITS[activation]
    rows = tuple(range(x.ndim - 1))
    dx = dgate = dweight = dbias = None
    if needs[2]:
        h = unit.forward(x, gate, **options)[0]
        dweight = lax.dot_general(dy, h, ((rows, rows), ((), ())))
    if needs[0] or needs[1]:
        dh = lax.dot_general(dy, weight, (((dy.ndim - 1,), (0,)), ((), ())))
        dx, dgate = unit.backward(dh, (x, gate), (), needs[:2], **options)
    if needs[3]:
        dbias = at_least_float32(dy).sum(rows)
    return dx, dgate, dweight, dbias
