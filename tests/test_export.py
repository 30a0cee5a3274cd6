"""Exported programs: what becomes of the hand-written backward is said, never silent."""

import warnings

import numpy as np
import pytest


@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_says_that_the_backward_is_lost(strict):
    torch = pytest.importorskip("torch")
    from bpx_torch import RULES
    from bpx_torch._checks import odd

    rule = odd(RULES["sin"])

    class Module(torch.nn.Module):
        def forward(self, x):
            return rule(x)

    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="sin: an exported program holds the plain forward"):
        program = torch.export.export(Module(), (x,), strict=strict)
    y = program.module()(x)
    (g,) = torch.autograd.grad(y, x, torch.full_like(y, 0.7))
    assert torch.allclose(y, torch.sin(x))
    assert torch.allclose(g, 0.7 * torch.cos(x)), (
        "the exported gradient is not what the warning says"
    )


def test_torch_export_for_inference_is_quiet():
    torch = pytest.importorskip("torch")
    from bpx_torch.functional import layer_norm

    class Module(torch.nn.Module):
        def forward(self, x):
            return layer_norm(x, (5,))

    x = torch.randn(3, 5)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        program = torch.export.export(Module(), (x,))
    assert torch.allclose(program.module()(x), torch.nn.functional.layer_norm(x, (5,)), atol=1e-6)


def test_jax_export_keeps_the_hand_written_backward():
    jax = pytest.importorskip("jax")
    pytest.importorskip("flatbuffers")
    from jax import export

    from bpx_jax import RULES
    from bpx_jax._checks import odd

    rule = odd(RULES["sin"])
    x = jax.numpy.asarray(np.random.default_rng(0).standard_normal((3, 4)))
    exported = export.export(jax.jit(rule))(x)
    again = export.deserialize(exported.serialize(vjp_order=1))
    g = jax.grad(lambda v: (again.call(v) * 0.7).sum())(x)
    np.testing.assert_allclose(g, 3 * 0.7 * np.cos(x), rtol=1e-14)
