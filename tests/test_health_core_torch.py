"""The native core's statistics for bpx_torch.health beside NumPy's, and which tensors it takes."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx.health import KINDS, Moments, measure
from bpx_torch import _health_measure, _health_parameters
from bpx_torch import _health_native as core
from bpx_torch._health_call import Call
from tests.health_samples import alike

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

SHAPES = [(), (1,), (5,), (1, 1), (3, 7), (64, 33), (4, 3, 5), (2, 6, 3, 5), (300, 131)]


def of(row):
    return Moments(int(row[0]), *((row[1], row[2]) if not row[3] else (math.nan,) * 2), int(row[3]))


def outputs(call, *tensors, axis=-1):
    for x in tensors:
        call.output(x, core.address(x), axis)
    return call


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_output_is_what_numpy_finds(dtype, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rng = np.random.default_rng(threads)
    try:
        for shape in SHAPES:
            for kind in ("", "tanh", "sigmoid", "softmax", "relu"):
                x = torch.tensor(rng.normal(0.5, 0.6, shape)).to(dtype)
                x = torch.relu(x - 0.9) if kind == "relu" else x
                assert core.address(x) == x.data_ptr()
                call, wide = outputs(Call(kind), x), x.double().numpy()
                alike(of(call.activation[0]), wide)
                if KINDS[kind] is None:
                    assert not call.saturated
                else:
                    want = measure.saturated(wide if shape else wide[None], kind)
                    assert call.saturated == [pytest.approx(want)]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_units_that_are_alive_on_any_axis(dtype, axis):
    rng = np.random.default_rng(7)
    for shape in [(9, 6), (9, 6, 4), (3, 6, 4, 5), (1, 6), (40, 6, 90)]:
        x = rng.normal(size=shape) * (rng.random(shape) < 0.1)
        along = np.moveaxis(x, axis, 0)
        along[0], along[-1] = 0, 0
        along[-1].flat[-1] = math.nan  # alive: a NaN is a value
        call = outputs(Call("relu"), torch.tensor(x).to(dtype), axis=axis)
        np.testing.assert_array_equal(call.alive, (along != 0).reshape(len(along), -1).any(1))
        assert call.examples == x.size // len(along)
    # a layer called twice: together, whether the core takes a tensor or not
    x, y = torch.eye(6)[:2], torch.eye(6)[3:5]
    for second in (y, y.T.contiguous().T, y.double()):
        call = outputs(Call("relu"), x, second)
        assert call.alive.tolist() == [True, True, False, True, True, False]
        assert call.examples == 4
    call = outputs(Call("relu"), y.double(), x, torch.ones(3, 5))
    assert call.alive.tolist() == [True] * 5  # other units: the last alone
    assert call.examples == 3
    assert outputs(Call("relu"), torch.tensor(1.0)).alive is None


def test_what_is_not_finite():
    x = torch.tensor([[2.0, math.nan, -1.0, 0.995], [math.inf, -math.inf, 0.5, 0.999]])
    for kind, want in (("tanh", 6 / 8), ("softmax", 1 / 2), ("", None)):
        call = outputs(Call(kind), x)
        assert of(call.activation[0]).nonfinite == 3
        assert call.saturated == ([] if want is None else [want])


def test_what_the_core_does_not_take():
    class Own(torch.Tensor):
        pass

    x = torch.randn(6, 4)
    others = [
        x.T,
        x[:, :2],
        x.double(),
        x.half(),
        x[:0],
        x.to_sparse(),
        x.as_subclass(Own),
        3,
        None,
    ]
    others += [torch._neg_view(x), x.to("meta"), [x]]
    assert [core.address(a) for a in others] == [0] * len(others)
    seen = []
    torch.func.vmap(lambda a: seen.append((core.address(a), core.inside(a))) or a)(x)
    a = x.clone().requires_grad_()
    y = a * 2
    y.register_hook(lambda g: seen.append((core.address(g), core.inside(g))))
    torch.autograd.grad(y, a, torch.ones(3, 6, 4), is_grads_batched=True)
    assert seen == [(0, True)] * 2
    assert core.address(x[2:]) == x.data_ptr() + 32


def arrays(rng, dtype):
    shapes = [(3, 5), (), (1,), (7, 40, 81), (300, 131)]
    return {
        str(i): torch.tensor(rng.normal(size=s) * (i + 1)).to(dtype) for i, s in enumerate(shapes)
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_together_are_each_alone(dtype, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rng = np.random.default_rng(11)
    try:
        ps, gs = arrays(rng, dtype), [*arrays(rng, dtype).values()]
        gs[1], gs[3] = None, torch.zeros(7, 81, 40, dtype=dtype).movedim(1, 2)
        ps["0"][1, 2], gs[0][2, 2] = math.nan, -math.inf
        copied = [True, False, True, True, True]
        held = {id(p) for p, c in zip(ps.values(), copied, strict=True) if c}
        groups, rest = _health_parameters.grouped(ps | {"half": torch.ones(2).half()}, held)
        assert rest == ["half"]
        assert all(group.same(held) and group.same() == group.copied for group in groups)
        assert not any(group.same({*held, id(ps["1"])} - {id(ps["0"])}) for group in groups)
        given = dict(zip(ps, gs, strict=True))
        looks = [_health_parameters.Look(g, [given[n] for n in g.names], g.copied) for g in groups]
        old = [p.clone() for p in ps.values()]
        for (name, p), copy, first in zip(ps.items(), copied, old, strict=True):
            p.requires_grad_(name != "2").detach().add_(0.5)  # one does not require gradients
            found = next(k for k in looks if name in k.names).before(name)
            assert (found is None) != copy
            if copy:
                torch.testing.assert_close(found, first, rtol=0, atol=0, equal_nan=True)
        assert not any(look.move() for look in looks)
        moved = dict(pair for look in looks for pair in look.norms)
        assert [*moved] == ["0", "3", "4"]
        assert math.isnan(moved["0"])
        for name in ("3", "4"):
            want = (ps[name].detach().double() - old[int(name)].double()).norm()
            assert moved[name] == pytest.approx(float(want), rel=1e-12)
        for look in looks:
            look.close()
        rows = sorted(row for look in looks for row in look.rows())
        assert len(rows) == 5
        for (_, row, slope), p, g in zip(rows, old, gs, strict=True):
            alike(of(row), p.double())
            assert (slope is None) == (g is None or not g.is_contiguous())
            if slope is not None:
                alike(of(slope), g.double())
    finally:
        torch.set_num_threads(before)


def test_a_group_knows_when_its_parameters_changed():
    def fresh():
        ps = {n: torch.nn.Parameter(torch.randn(4, 6)) for n in "ab"}
        return ps["b"], _health_parameters.grouped(ps)[0][0]

    p, group = fresh()
    p.detach().add_(1)
    assert group.same()
    for change in (lambda p: p.data.clone(), lambda p: p.data[:3], lambda p: p.data.bfloat16()):
        p, group = fresh()
        kept = p.data
        p.data = change(p)
        assert not group.same()
        assert kept.dtype == torch.float32
    p, group = fresh()
    p.data = p.data.as_strided((6, 4), (1, 6))  # the same place, size and number, transposed
    assert not group.same()
    p, group = fresh()
    p.data = p.data.view(6, 4)
    assert not group.same()
    look = _health_parameters.Look(fresh()[1], None, True)
    look.group.parameters[0].data = torch.ones(4, 6)
    assert look.move() == ["a", "b"]
    assert not look.norms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_apart_is_what_torch_finds(dtype, monkeypatch):
    rng = np.random.default_rng(3)
    cases = [rng.normal(size=s) for s in [(6, 4), (300, 5), (8, 3, 2, 2), (2, 2)]]
    for twin in [(0, 5), (3, 2)]:
        w = rng.normal(size=(6, 9))
        w[twin[0]] = w[twin[1]]
        cases += [w, w.T.copy()]
    cases += [np.zeros((3, 4)), rng.normal(size=(4, 3)) * [1, math.nan, 1]]
    tensors = [torch.tensor(w).to(dtype) for w in cases]
    found = [(_health_measure.apart(w, 0), _health_measure.apart(w, w.dim() - 1)) for w in tensors]
    assert found[4:8] == [(False, True), (True, False)] * 2
    assert not any(any(pair) for pair in found[8:])
    monkeypatch.setattr(core, "address", lambda x: 0)
    plain = [(_health_measure.apart(w, 0), _health_measure.apart(w, w.dim() - 1)) for w in tensors]
    assert found == plain
