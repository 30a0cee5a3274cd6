"""bpx_torch's wrappers in a loop: windows, GradScaler, averages swapped in, closures, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx.spec import SpecError
from bpx_torch import optim
from tests.transform_inputs import assert_same, draw
from tests.wrapper_runs import (
    WRAPPERS,
    feed,
    momentum_step,
    run,
    weights,
    weights_after,
    wrapped,
)


def test_a_window_is_the_same_with_and_without_zero_grad_and_may_end_early() -> None:
    paths = []
    for clear in (True, False):
        ps = weights()
        opt = wrapped("GradientAccumulation", ps, every=4)
        for t in range(6):
            for p, g in zip(ps, draw(t), strict=True):
                g = torch.from_numpy(g)
                p.grad = g if p.grad is None else p.grad + g  # as backward adds
            opt.step()
            if clear:
                opt.zero_grad()
        assert opt.finish()
        assert not opt.finish()
        paths.append(weights_after(ps))
    assert_same(paths[0], paths[1], factor=0)
    held = [np.zeros_like(p) for p in draw(100)]
    want, held = momentum_step(
        draw(100), [sum(g) / 4 for g in zip(*map(draw, range(4)), strict=True)], held
    )
    want, _ = momentum_step(want, [sum(g) / 2 for g in zip(*map(draw, (4, 5)), strict=True)], held)
    assert_same(paths[0], want)


def test_accumulation_under_grad_scaler_leaves_out_what_overflows() -> None:
    w = torch.nn.Parameter(torch.zeros(3))
    opt = optim.GradientAccumulation(torch.optim.SGD([w], lr=1.0), every=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, float("inf"), 3.0):
        scaler.scale((w * factor).sum()).backward()
        scaler.unscale_(opt)
        optim.clip_grad.clip_grad_norm_([w], 1e6)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    np.testing.assert_allclose(w.detach(), [-2.0] * 3, rtol=1e-6)
    assert scaler.get_scale() == 4.0


def test_averaged_puts_the_weights_back_also_after_an_error() -> None:
    ps = weights()
    opt = wrapped("WeightEMA", ps)
    with opt.averaged():
        assert_same(weights_after(ps), draw(100), factor=0)
    run(opt, ps, range(3))
    ps_now = weights_after(ps)

    def evaluate() -> None:
        with opt.averaged():
            assert_same(weights_after(ps), [opt.average(p) for p in ps], factor=0)
            assert not np.array_equal(ps[0].detach(), ps_now[0])
            raise KeyError

    with pytest.raises(KeyError):
        evaluate()
    assert_same(weights_after(ps), ps_now, factor=0)


@pytest.mark.parametrize("name", ["WeightEMA", "WeightSWA", "Lookahead", "GradientAccumulation"])
def test_arrays_of_bfloat16_weights_are_float32(name: str) -> None:
    ps = weights(torch.bfloat16)
    opt = wrapped(name, ps)
    run_bf16 = range(4)
    for t in run_bf16:
        feed(ps, t)
        opt.step()
    opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    (held,) = opt._arrays.values()
    assert held
    assert all(x.dtype == torch.float32 for x in held.values())
    assert all(p.dtype == torch.bfloat16 for p in ps)


def test_closures_return_the_loss_and_are_called_once() -> None:
    for name in WRAPPERS:
        w, calls = torch.nn.Parameter(torch.ones(2)), []
        opt = wrapped(name, [w])

        def closure(w: Any = w, calls: Any = calls) -> Any:
            calls.append(1)
            loss = (w * w).sum()
            w.grad = 2 * w.detach()
            return loss.detach()

        assert opt.step(closure).item() == 2.0
        assert len(calls) == 1


def test_rejects() -> None:
    w = torch.nn.Parameter(torch.ones(2))
    sgd = torch.optim.SGD([w], lr=0.1)
    bad = [
        (lambda: optim.Lookahead([w]), "lookahead: optimizer is a list, expected a torch.optim"),
        (lambda: optim.Lookahead(sgd, k=0), "lookahead: k is 0, expected an integer at least 1"),
        (lambda: optim.WeightEMA(sgd, 2.0), "weight_ema: decay is 2.0, expected a number in"),
        (lambda: optim.WeightSWA(sgd, -1), "weight_swa: start is -1, expected an integer"),
        (lambda: optim.SkipNonfinite(sgd, -1), "skip_nonfinite: max_consecutive is -1, expected"),
        (lambda: optim.GradientAccumulation(sgd, 0), "gradient_accumulation: every is 0, expected"),
        (lambda: optim.DecoupledDecay(sgd, -1), "decoupled_decay: weight_decay is -1, expected"),
        (
            lambda: optim.Lookahead(sgd).load_state_dict(sgd.state_dict()),
            "lookahead: state_dict has no 'lookahead', expected what this wrapper saved",
        ),
    ]
    ps = weights()
    opt = wrapped("Lookahead", ps)
    run(opt, ps, range(2))
    bad.append(
        (
            lambda: optim.Lookahead(sgd).load_state_dict(opt.state_dict()),
            "lookahead: state_dict has slow 0 of shape (3, 4), expected the shapes of 1 parameters",
        )
    )
    for call, message in bad:
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
