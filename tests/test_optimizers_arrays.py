"""The optimizers that look at whole arrays: what the trajectories of one parameter do not show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bpx.optimizers.muon import SPEC as MUON
from bpx.optimizers.muon import orthogonal
from bpx.spec import SpecError
from tests import trajectories as tj

rng = np.random.default_rng(5)


def amplified(x: Any, rounding: float) -> float:
    """A bound on how far roundings of each iteration may carry its result, in Frobenius norm.

    The iteration acts on singular values as f(s) = a s + b s^3 + c s^5. A change of its argument
    grows by at most the largest divided difference |f(s) +- f(r)| / |s +- r| over pairs of singular
    values; every iteration rounds its own results, each by `rounding` relative to its norm.
    """
    a, b, c = MUON.options["ns_coefficients"]
    s = np.linalg.svd(x, compute_uv=False) / np.linalg.norm(x)
    error = rounding * np.linalg.norm(s)  # of the argument
    for _ in range(MUON.options["ns_steps"]):
        f = a * s + b * s**3 + c * s**5
        same = s[:, None] == s[None, :]
        slope = np.abs(a + 3 * b * s**2 + 5 * c * s**4)[:, None] * np.ones_like(s)
        minus = (f[:, None] - f) / np.where(same, 1.0, s[:, None] - s)
        growth = np.where(same, slope, np.abs(minus)).max()
        growth = max(growth, np.abs((f[:, None] + f) / (s[:, None] + s)).max())
        # rounded are the Gram matrix, the polynomial of it, and their product with the sum
        terms = np.linalg.norm((b + 2 * c * s**2) * s**3) + np.linalg.norm((b + c * s**2) * s**3)
        terms += np.linalg.norm(f)
        error, s = growth * error + rounding * terms, np.abs(f)
    return float(error)


def test_bfloat16_iteration_is_within_its_rounding() -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    for shape in ((6, 4), (5, 9)):
        g = rng.normal(size=shape)
        want = orthogonal(g, MUON.options["ns_coefficients"], 5, 1e-7, False, "frobenius")
        p = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        p.grad = torch.tensor(g)
        options = {"lr": 1.0, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        OPTIMIZERS["muon"]([p], **options).step()
        got = -p.detach().numpy() / (0.2 * np.sqrt(max(shape)))
        error, bound = np.linalg.norm(got - want), amplified(g, 2.0**-9)  # half a spacing
        assert 1e-5 < error < bound < np.linalg.norm(want)


def test_muon_and_adafactor_take_shapes_of_their_own() -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    with pytest.raises(SpecError, match=r"muon: a parameter has shape \(3,\), expected two dims"):
        MUON.init(np.ones(3))
    with pytest.raises(SpecError, match=r"muon: parameter 1 .* shape \(3,\), expected two dims"):
        OPTIMIZERS["muon"]([torch.nn.Parameter(torch.ones(s)) for s in ((2, 2), (3,))])
    p = torch.nn.Parameter(torch.ones(2, 3, 4))
    p.grad = p.detach().clone()
    optimizer = OPTIMIZERS["adafactor"]([p])
    optimizer.step()
    assert optimizer.state[p]["row_var"].shape == (2, 3, 1)


def test_lamb_clips_over_all_groups_and_leaves_grad_alone() -> None:
    torch = pytest.importorskip("torch")
    from bpx.optimizers.lamb import SPEC
    from bpx_torch.optimizers import OPTIMIZERS

    arrays = [rng.normal(size=s) for s in ((3, 2), (5,), (4,))]
    grads = [3 * rng.normal(size=a.shape) for a in arrays[:2]] + [None]
    kw = {"lr": 0.3, "betas": (0.6, 0.7), "eps": 0.5}
    limits = (2.0, None, 1.0)
    options = [tj.complete(SPEC, {**kw, "max_grad_norm": limit}) for limit in limits]
    want, _ = tj.spec_stepper(SPEC, options, arrays)(grads)
    for foreach in (False, True):
        params = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
        groups = [{"params": [p], "max_grad_norm": m} for p, m in zip(params, limits, strict=True)]
        optimizer = OPTIMIZERS["lamb"](groups, foreach=foreach, **kw)
        for p, g in zip(params, grads, strict=True):
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()
        for p, w, g in zip(params, want, grads, strict=True):
            np.testing.assert_allclose(p.detach(), w, rtol=1e-13)
            assert g is None or np.array_equal(p.grad, g)
    sparse = torch.nn.Parameter(torch.ones(2))
    sparse.grad = torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match=r"layout torch\.sparse_coo"):
        OPTIMIZERS["lamb"]([sparse], max_grad_norm=1.0).step()


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_float32_state_of_bfloat16_parameters(name: str) -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    moved = []
    for dtype in (torch.float32, torch.bfloat16):
        for foreach in (False, True):
            p = torch.nn.Parameter(torch.linspace(-2, 3, 7).bfloat16().to(dtype))
            p.grad = torch.linspace(0.5, -1.5, 7).bfloat16().to(dtype)
            optimizer = OPTIMIZERS[name]([p], lr=0.1, foreach=foreach)
            optimizer.step()
            state = [v for k, v in optimizer.state[p].items() if k != "step"]
            assert all(v.dtype == torch.float32 for v in state)
            moved.append(p.detach().bfloat16())
    assert all(torch.equal(x, moved[0]) for x in moved)


def test_optaxs_adafactor_decays_in_float32_and_ours_does_not() -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    from bpx_jax import optim
    from tests import optax_arguments

    g = jax.numpy.asarray(rng.normal(size=(4, 3)))
    ends = []
    with jax.numpy_dtype_promotion("standard"):
        scale = optax_arguments.factorized.scale_by_factored_rms
        chain = optax.chain(scale.func(), optax.clip_by_block_rms(1.0), optax.scale(-0.1))
        for tx in (chain, optim.adafactor(0.1, multiply_by_parameter_scale=False)):
            p, state = g, tx.init(g)
            for t in range(8):
                updates, state = tx.update(g * (1.0 + t) ** 2, state, p)
                p = p + updates
            ends.append(np.asarray(p))
    error = np.abs(ends[0] - ends[1]).max()
    # the share t^-0.8 >= 0.19 of a new square is off by half an eps of 1 - t^-0.8, the root halves
    # that; eight steps of 0.1 at most
    assert 0 < error < 8 * 0.1 * 0.5 * (np.finfo(np.float32).eps / 0.19)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("numbers", ["none", "tree", "function"])
def test_muon_of_mixed_trees_is_optaxs(numbers: str, masked: bool) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    from bpx_jax.optimizers.muon import MuonDimensionNumbers, muon

    def make(shape: tuple[int, ...]) -> Any:
        return jax.numpy.asarray(rng.normal(size=shape))

    start = {"w": make((4, 6)), "b": make((5,)), "c": (make((2, 3, 4, 5)), None, make(()))}

    def given(kind: Any) -> Any:
        tree = {"w": kind(1, 0), "b": None, "c": (kind((0, 2), 3), None, None)}
        return {"none": None, "tree": tree, "function": lambda _: tree}[numbers]

    ends = []
    with jax.numpy_dtype_promotion("standard"):
        for f, kind in (
            (muon, MuonDimensionNumbers),
            (optax.contrib.muon, optax.contrib.MuonDimensionNumbers),
        ):
            tx = f(
                lambda count: 0.1 / (1.0 + count),
                "dion",
                weight_decay=0.2,
                weight_decay_mask={"w": False, "b": True, "c": True} if masked else None,
                adam_weight_decay=0.3,
                muon_weight_dimension_numbers=given(kind),
            )
            p, state = start, tx.init(start)
            for t in range(2):
                grads = jax.tree.map(lambda x, t=t: jax.numpy.cos(x * (t + 1)), start)
                updates, state = tx.update(grads, state, p)
                p = jax.tree.map(jax.numpy.add, p, updates)
            ends.append((p, state))
    rows = [jax.tree_util.tree_flatten_with_path(end)[0] for end in ends]
    assert [jax.tree_util.keystr(k) for k, _ in rows[0]] == [
        jax.tree_util.keystr(k) for k, _ in rows[1]
    ]
    for (_, x), (_, y) in zip(*rows, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13)


def test_dimension_numbers_must_fit() -> None:
    jax = pytest.importorskip("jax")
    from bpx_jax.optimizers.muon import MuonDimensionNumbers, muon

    p = jax.numpy.ones((2, 3))
    for kind, message in ((MuonDimensionNumbers(0, 0), "expected axes that are either of the"),):
        tx = muon(0.1, muon_weight_dimension_numbers=kind)
        with pytest.raises(SpecError, match=message):
            tx.update(p, tx.init(p), p)
    tx = muon(0.1, muon_weight_dimension_numbers=MuonDimensionNumbers())
    with pytest.raises(SpecError, match=r"a leaf has shape \(2,\), expected at least two dims"):
        tx.update(p[:, 0], tx.init(p[:, 0]), p[:, 0])
    with pytest.raises(SpecError, match="muon: ns_coeffs is 'fast', expected one of"):
        muon(0.1, "fast")


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_masks_are_optaxs(name: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    from bpx_jax import optim

    mask = {"a": False, "b": True}
    kw = {"weight_decay": lambda count: 0.5 / (1.0 + count)}
    kw |= {"weight_decay_mask": mask, "trust_ratio_mask": lambda t: {"a": True, "b": False}}
    kw = kw if name == "lars" else {"weight_decay": kw["weight_decay"], "mask": mask}
    start = {k: jax.numpy.asarray(rng.normal(size=(3, 2))) for k in ("a", "b")}
    ends = []
    with jax.numpy_dtype_promotion("standard"):
        for module in (optim, optax):
            tx = getattr(module, name)(0.1, **kw)
            p, state = start, tx.init(start)
            for t in range(3):
                updates, state = tx.update(jax.tree.map(lambda x, t=t: x + t, start), state, p)
                p = jax.tree.map(jax.numpy.add, p, updates)
            ends.append((p, state))
    for x, y in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)
    tx = getattr(optim, name)(0.1)
    state = tx.init(start)
    with pytest.raises(SpecError, match=f"{name}: params is None, expected the parameters"):
        tx.update(start, state)
