"""Kernels in Triton, for a GPU. Nothing here imports triton before a kernel is asked for."""

from bpx.rule import Kernel

# the elementwise rows that have one
ELEMENTWISE = frozenset(
    "sigmoid tanh softplus log_sigmoid silu mish gelu softsign arctan elu selu celu squareplus exp "
    "sin cos square relu leaky_relu relu6 hardtanh hardsigmoid hardswish relu_squared hardshrink "
    "softshrink tanhshrink threshold sparse_plus sparse_sigmoid".split()
)
GATED = ("glu", "swiglu", "geglu", "reglu")


def kernels(name):
    """The Triton kernel of an elementwise row, or nothing where there is none."""
    family = "gated" if name in GATED else "elementwise" if name in ELEMENTWISE else None
    return (Kernel.lazy("triton", f"{__name__}.{family}", name),) if family else ()
