"""The solvers for PyTorch, by the names of bpx.solvers; `bpx_torch.optim` offers them."""

from bpx_torch.solvers._flat import FlatSolver
from bpx_torch.solvers.bfgs import BFGS
from bpx_torch.solvers.gauss_newton import GaussNewton
from bpx_torch.solvers.lbfgs import LBFGS
from bpx_torch.solvers.levenberg_marquardt import LevenbergMarquardt
from bpx_torch.solvers.newton import Newton

SOLVERS: dict[str, type[FlatSolver]] = {
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "newton": Newton,
    "gauss_newton": GaussNewton,
    "levenberg_marquardt": LevenbergMarquardt,
}
