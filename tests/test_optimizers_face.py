"""bpx_torch.optim has every name of torch.optim, or says why not; and what it has beyond."""

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import optim
from bpx_torch.optimizers import OPTIMIZERS
from bpx_torch.solvers import SOLVERS
from tests.torch_optimizers import SPECS, own

WRAPPERS = (  # what holds an optimizer, or stands beside one
    "DecoupledDecay",
    "EarlyStopping",
    "GradientAccumulation",
    "Lookahead",
    "SkipNonfinite",
    "WeightEMA",
    "WeightSWA",
    "clip_grad",
)


def test_face_and_gaps_cover_torch_optim() -> None:
    more = {cls.__name__ for name, cls in OPTIMIZERS.items() if own(name) is None}
    solvers = {cls.__name__ for cls in SOLVERS.values()}
    wrappers = set(WRAPPERS)
    more |= (solvers - {"LBFGS"}) | wrappers
    newer = set() if torch.__version__ >= "2.13" else {"swap_in_optimizer_params_and_state"}
    assert set(optim.__all__) | set(optim.GAPS) == set(torch.optim.__all__) | more | newer
    assert not set(optim.__all__) & set(optim.GAPS)
    classes = {cls.__name__ for cls in OPTIMIZERS.values()} | solvers
    assert set(optim.__all__) == classes | wrappers | {"lr_scheduler", "swa_utils"}
    assert set(OPTIMIZERS) == set(SPECS)
    assert all(cls.SPEC is SPECS[name] for name, cls in OPTIMIZERS.items())
