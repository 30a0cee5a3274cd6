"""bpx_torch's clipping and penalties against torch's and the specification."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import utils as theirs
from torch.optim import swa_utils as their_averages

from bpx.spec import SpecError
from bpx_torch.optim import clip_grad as ours
from bpx_torch.optim import swa_utils
from tests.trajectories import label
from tests.transform_inputs import assert_same, cases, complete, draw, gradients, run_gradients

STATELESS = [(s, t) for s, t in cases("gradients") if not s.state]


def parameters(gs: Any, dtype: Any = torch.float64) -> list[Any]:
    ps = [torch.nn.Parameter(torch.from_numpy(p).to(dtype)) for p in draw(100)[: len(gs)]]
    for p, g in zip(ps, gs, strict=True):
        p.grad = torch.from_numpy(g).to(dtype)
    return [*ps, torch.nn.Parameter(torch.ones(2, dtype=dtype))]  # one without a gradient


def apply(name: str, ps: Any, o: dict[str, Any]) -> Any:
    calls = {
        "clip_by_value": lambda: ours.clip_grad_value_(ps, o["max_value"]),
        "clip_by_norm": lambda: ours.clip_by_norm_(
            ps, o["max_norm"], o["norm_type"], mean=o["mean"]
        ),
        "clip_by_global_norm": lambda: ours.clip_grad_norm_(
            ps, o["max_norm"], o["norm_type"], profile=o["profile"]
        ),
        "adaptive_grad_clip": lambda: ours.adaptive_grad_clip_(
            ps, o["clipping"], o["eps"], layout=o["layout"]
        ),
        "l1_penalty": lambda: ours.l1_penalty_(ps, o["scale"]),
        "l2_penalty": lambda: ours.l2_penalty_(ps, o["scale"]),
    }
    return calls[name]()


@pytest.mark.parametrize(("spec", "trial"), STATELESS, ids=label)
def test_gradients_are_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    options = complete(spec, trial)
    for t, want in enumerate(run_gradients(spec, options, steps=5)):
        ps = parameters(gradients(t))
        before = [p.detach().clone() for p in ps]
        apply(spec.name, ps, options)
        assert_same([p.grad for p in ps[:-1]], want)
        assert ps[-1].grad is None
        assert all(torch.equal(a, b) for a, b in zip(ps, before, strict=True))


@pytest.mark.parametrize("order", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.3, 1e3])
def test_norm_clipping_is_torchs(order: float, max_norm: float) -> None:
    for t in (0, 2, 3):
        for dtype in (torch.float64, torch.float32):
            # without the empty one, of which torch has no largest element
            mine, other = (parameters(gradients(t)[:-1], dtype) for _ in range(2))
            got = ours.clip_grad_norm_(mine, max_norm, order)
            want = theirs.clip_grad_norm_(other, max_norm, order)
            assert got.dtype == want.dtype
            eps = torch.finfo(dtype).eps
            assert_same([got.numpy()], [want.numpy()], eps=eps)
            assert_same([p.grad for p in mine[:-1]], [p.grad for p in other[:-1]], eps=eps)


def test_the_parts_of_it_are_torchs_and_one_tensor_will_do() -> None:
    mine, other = parameters(gradients(1)), parameters(gradients(1))
    for foreach in (None, True, False):
        got = ours.get_total_norm([p.grad for p in mine[:-1]], foreach=foreach)
        want = theirs.get_total_norm([p.grad for p in other[:-1]])
        assert_same([got], [want])
    ours.clip_grads_with_norm_(mine, 0.2, got)
    theirs.clip_grads_with_norm_(other, 0.2, want)
    assert_same([p.grad for p in mine[:-1]], [p.grad for p in other[:-1]])
    ours.clip_grad_value_(mine[0], 0.01)
    theirs.clip_grad_value_(other[0], 0.01)
    assert_same([mine[0].grad], [other[0].grad])
    assert float(ours.clip_grad_norm_(iter(mine[-1:]), 1.0)) == 0.0
    assert float(ours.get_total_norm([])) == 0.0


@pytest.mark.parametrize(
    "name", ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]
)
def test_arguments_are_torchs(name: str) -> None:
    def arguments(function: Any) -> Any:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.name != "profile"]

    assert arguments(getattr(ours, name)) == arguments(getattr(theirs, name))


def test_norms_of_narrow_types_neither_overflow_nor_lose_digits() -> None:
    """torch's norm of float16 gradients is inf above 65504, and then clips them to 0."""
    w = torch.nn.Parameter(torch.zeros(4096, dtype=torch.float16))
    w.grad = torch.full_like(w, 3000.0)
    norm = ours.clip_grad_norm_([w], 1.0)
    assert norm.dtype == torch.float32
    np.testing.assert_allclose(float(norm), 3000 * 64, rtol=1e-6)
    np.testing.assert_allclose(w.grad.float(), 1 / 64, rtol=2**-11)
    v = torch.nn.Parameter(torch.zeros(2))
    v.grad = torch.tensor([3e30, 4e30])
    ours.clip_grad_norm_([v], 1.0, profile="optax")
    np.testing.assert_allclose(v.grad, [0.6, 0.8], rtol=3e-7)


def test_bfloat16_is_rounded_once() -> None:
    options = {"clipping": 0.2, "eps": 1e-3, "layout": "torch"}
    for name, o in (("adaptive_grad_clip", options), ("l2_penalty", {"scale": 0.37})):
        ps = parameters(gradients(1), torch.bfloat16)[:-1]
        exact = [p.detach().double().numpy() for p in ps]
        gs = [p.grad.double().numpy() for p in ps]
        spec = next(s for s, _ in STATELESS if s.name == name)
        want, _ = spec.step(gs, exact, {}, **o)
        apply(name, ps, o)
        for p, b in zip(ps, want, strict=True):
            assert p.grad.dtype == torch.bfloat16
            np.testing.assert_allclose(p.grad.double(), b, rtol=0.51 * 2**-7, atol=0)


def test_rejects() -> None:
    ps = parameters(gradients(0))
    bad = [
        (lambda: ours.clip_grad_norm_(ps, -1.0), "clip_by_global_norm: max_norm is -1.0"),
        (lambda: ours.clip_grad_norm_(ps, 1.0, 0.0), "norm_type is 0.0, expected a number above 0"),
        (lambda: ours.clip_grad_norm_(ps, 1.0, profile="tf"), "profile is 'tf', expected one of"),
        (lambda: ours.clip_grad_value_(ps, -1.0), "clip_by_value: max_value is -1.0, expected"),
        (lambda: ours.adaptive_grad_clip_(ps, 0.0), "adaptive_grad_clip: clipping is 0.0"),
        (lambda: ours.l1_penalty_(ps, -1.0), "l1_penalty: scale is -1.0, expected"),
        (lambda: ours.l2_penalty_(ps, -1.0), "l2_penalty: scale is -1.0, expected"),
        (lambda: swa_utils.get_ema_avg_fn(1.5), "weight_ema: decay is 1.5, expected a number in"),
    ]
    for call, message in bad:
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
    broken = parameters(gradients(3))
    with pytest.raises(RuntimeError, match="is nan, expected a finite one"):
        ours.clip_grad_norm_(broken, 1.0, error_if_nonfinite=True)
    assert_same([p.grad for p in broken[:-1]], gradients(3))


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("multi", [False, True])
def test_averages_in_torchs_averaged_model(kind: str, multi: bool, buffers: bool) -> None:
    which = "multi_avg_fn" if multi else "avg_fn"
    kw = {"decay": 0.7} if kind == "ema" else {}
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).double()
    models = [
        their_averages.AveragedModel(
            net,
            use_buffers=buffers,
            **{how: getattr(module, f"get_{kind}_{how}")(**kw)},
        )
        # torch's own multi_avg_fn of SWA has its share in float32
        for module, how in ((swa_utils, which), (their_averages, "avg_fn"))
    ]
    for t in range(5):
        net(torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(t)))
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.3 * (t + 1))
        for model in models:
            model.update_parameters(net)
    states = [[v.double() for v in m.state_dict().values()] for m in models]
    assert_same(*states)
