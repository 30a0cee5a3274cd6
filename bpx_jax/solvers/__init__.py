"""The solvers for JAX: functions of pytrees, by the names of bpx.solvers.

    result = lbfgs(lambda params: loss(params, batch), params, tolerance_grad=1e-6)

Each returns a `Result` and may be jitted by the caller, over the start and over what the function
closes over; without jit it compiles its loop by itself. The function is differentiated by JAX.
"""

from collections.abc import Callable

from bpx.solvers import OUTCOMES
from bpx_jax.solvers._flat import Result
from bpx_jax.solvers.bfgs import bfgs
from bpx_jax.solvers.gauss_newton import gauss_newton
from bpx_jax.solvers.lbfgs import lbfgs
from bpx_jax.solvers.levenberg_marquardt import levenberg_marquardt
from bpx_jax.solvers.newton import newton

SOLVERS: dict[str, Callable[..., Result]] = {
    "bfgs": bfgs,
    "lbfgs": lbfgs,
    "newton": newton,
    "gauss_newton": gauss_newton,
    "levenberg_marquardt": levenberg_marquardt,
}

__all__ = [
    "OUTCOMES",
    "SOLVERS",
    "Result",
    "bfgs",
    "gauss_newton",
    "lbfgs",
    "levenberg_marquardt",
    "newton",
]
