"""Dtypes that do not agree: taken as torch takes them, or one clear sentence."""

import pytest

torch = pytest.importorskip("torch")

from bpx.spec import SpecError
from bpx.verify.legs import generic
from bpx_torch import functional as F
from bpx_torch.verify import RUNNER

LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "poisson_nll_loss")


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_whole_numbers_as_target(name, dtype):
    if (name, dtype) == ("l1_loss", torch.bool):
        return  # torch refuses these
    target = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    x = torch.randn(2, 3, requires_grad=True)
    want = getattr(torch.nn.functional, name)(x, target)
    got = getattr(F, name)(x, target)
    torch.testing.assert_close(got, want)
    if name == "mse_loss" and torch.__version__ < "2.13":  # where its own backward fails
        want = torch.nn.functional.mse_loss(x, target.float())
    grads = (torch.autograd.grad(3 * y, x)[0] for y in (got, want))
    torch.testing.assert_close(*grads)


PRODUCTS = {
    "linear": lambda x, w, b: F.linear(x, w, b),
    "conv": lambda x, w, b: F.conv1d(x[None], w[:, :, None], b),
    "conv_transpose": lambda x, w, b: F.conv_transpose1d(x[None], w.T[:, :, None], b),
}


@pytest.mark.parametrize("entry", PRODUCTS)
def test_mixed_dtypes_are_named(entry):
    x, weight = torch.randn(5, 5), torch.randn(4, 5)
    message = rf"{entry}: weight has dtype torch.float64, expected torch.float32, the dtype of x"
    with pytest.raises(SpecError, match=message):
        PRODUCTS[entry](x, weight.double(), None)
    with pytest.raises(SpecError, match=rf"{entry}: bias has dtype torch.bfloat16"):
        PRODUCTS[entry](x, weight, torch.randn(4).bfloat16())


# Where torch has no operation of its own the oracle is made of several, each with a dtype of its
# own.
MADE_OF_SEVERAL = "rope deep_equilibrium reversible"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_autocast_dtype_of_every_rule(dtype):
    """The dtype of torch's own operation, whatever that of the arguments."""
    runner, wrong = RUNNER(), []
    own = [n for n in runner.oracles if not runner.rules[n].spec.surrogate]
    for name in (n for n in own if n not in MADE_OF_SEVERAL.split()):
        rule = runner.rules[name]
        case = generic(rule.spec)
        arrays = runner.arrays(case, dtype)
        with torch.autocast("cpu", torch.bfloat16):
            y = rule(*arrays, **case.options)
            want = runner.oracles[name](*arrays, **case.options)
        if y.dtype != want.dtype:
            wrong.append(f"{name}: {y.dtype}, torch {want.dtype}")
    assert len(own) > 60
    assert not wrong
