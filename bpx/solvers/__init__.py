"""Solvers that take curvature: of a whole function of one flat vector, in NumPy.

    bfgs(value_and_grad, x0)                   newton(value_and_grad, hessian, x0)
    lbfgs(value_and_grad, x0)                  gauss_newton(residual_and_jacobian, x0)
                                               levenberg_marquardt(residual_and_jacobian, x0)

Each returns a `Result`, which says how it ended. In PyTorch: the classes of these names in
`bpx_torch.optim`; in JAX: `bpx_jax.solvers`, functions of pytrees.
"""

from collections.abc import Callable

from bpx.solvers._result import OUTCOMES, Result
from bpx.solvers.bfgs import bfgs
from bpx.solvers.gauss_newton import gauss_newton
from bpx.solvers.lbfgs import lbfgs
from bpx.solvers.levenberg_marquardt import levenberg_marquardt
from bpx.solvers.newton import newton

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
