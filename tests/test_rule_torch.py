"""The torch wrapper where kernels and residuals meet: dual numbers, labels, meta tensors."""

import pytest

torch = pytest.importorskip("torch")

from bpx.verify.legs import generic
from bpx_torch import RULES
from bpx_torch.verify import TorchRunner

RUNNER = TorchRunner()


@pytest.mark.parametrize("name", ["layer_norm", "cross_entropy", "softmax", "exp"])
def test_dual_numbers_through_backward(name):
    """Forward mode over reverse mode without create_graph: residuals move with the inputs."""
    from torch.autograd import forward_ad

    rule, case = RULES[name], generic(RULES[name].spec)
    arrays = RUNNER.arrays(case, "float64")
    t = torch.randn_like(arrays[0])

    def slope(x):
        y = rule(x, *arrays[1:], **case.options)
        weights = torch.arange(1.0, 1 + y.numel(), dtype=y.dtype).reshape(y.shape)
        return torch.autograd.grad((y * weights).sum(), x)[0]

    with forward_ad.dual_level():
        x = forward_ad.make_dual(arrays[0].clone().requires_grad_(), t)
        got = forward_ad.unpack_dual(slope(x)).tangent
    h = 1e-6
    up, down = ((arrays[0] + s * h * t).requires_grad_() for s in (1, -1))
    want = (slope(up) - slope(down)) / (2 * h)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def test_labels_in_a_parameter_are_looked_at():
    from bpx.spec import SpecError

    labels = torch.nn.Parameter(torch.tensor([0, 1, 9]), requires_grad=False)
    with pytest.raises(SpecError, match="target holds 9"):
        RULES["cross_entropy"](torch.randn(3, 4), labels, None)


def test_losses_on_meta_tensors():
    x = torch.empty(3, 4, device="meta")
    assert RULES["mse"](x, torch.empty_like(x)).device.type == "meta"
