"""How a Pallas kernel is started: through Triton on a GPU, or in the interpreter on the CPU."""

import jax
from jax.experimental import pallas as pl

from bpx import rule


def refuses():
    """None, or why no Pallas kernel can run."""
    backend = jax.default_backend()
    if backend == "cpu":
        return None if rule.interpreting() else "the default backend is cpu"
    if backend != "gpu":
        return f"the default backend is {backend}, for which the kernel was not written"
    if rule.asked() != "pallas":
        # JAX 0.11 warns at every use; what replaces it, Mosaic GPU, the kernel was not written for.
        return "JAX ends Pallas by Triton on a GPU, so it runs only within bpx.rule.use('pallas')"
    return None


def pallas_call(kernel, **arguments):
    """pl.pallas_call for the backend. JAX 0.11 lowers this to Triton on a GPU without being asked
    and says that it will stop; 0.10 lowers to Mosaic GPU unless Triton's parameters are passed."""
    if jax.default_backend() == "cpu":
        return pl.pallas_call(kernel, interpret=True, **arguments)
    from jax.experimental.pallas import triton

    return pl.pallas_call(kernel, compiler_params=triton.CompilerParams(num_warps=4), **arguments)
