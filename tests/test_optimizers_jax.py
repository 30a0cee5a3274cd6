"""bpx_jax's optimizers against the specification and optax: trajectories, options, errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx.optimizers import ALL
from bpx.spec import Optimizer, SpecError
from bpx_jax import optim
from bpx_jax.optimizers import OPTIMIZERS
from tests import trajectories as tj
from tests.optax_arguments import CASES, FIXED, PARTLY, STATE, STATE_OF, call, theirs
from tests.optax_optimizers import as_tree, fields, flat, ours, reference

SPECS = {spec.name: spec for spec in ALL}
each_case = pytest.mark.parametrize(("spec", "trial"), CASES, ids=tj.label)
each_spec = pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)


def spec_path(spec: Optimizer, trial: dict[str, Any]) -> tj.Path:
    start = tj.parameters(spec)
    run = tj.spec_stepper(spec, [tj.complete(spec, trial)] * len(start), start)
    seen = {"t", *STATE_OF.get(spec.name, STATE).values()}
    path = tj.trajectory(run, tj.gradients(spec, absent=False))
    return [
        (p, [flat(spec, {k: v for k, v in s.items() if k in seen}) for s in rows])
        for p, rows in path
    ]


@each_case
def test_trajectory(spec: Optimizer, trial: dict[str, Any]) -> None:
    want, exact = spec_path(spec, trial), tj.measure(spec)
    name, kw = call(spec, trial)
    if theirs(name) is not None:
        tj.assert_same(reference(spec, name, kw), want, "optax, not the specification", **exact)
    tj.assert_same(ours(spec, name, kw), want, "bpx_jax", **exact)


SHARED = [name for name in optim.__all__ if theirs(name) is not None]


OTHER = {
    "amsgrad": "adam",
    "nadam": "adam",
    "nadamw": "adamw",
    "adamaxw": "adamax",
    "sign_sgd": "lion",
}


def entry_of(name: str) -> Optimizer:
    """The entry under another name of its own, e.g. for its shapes."""
    return SPECS[OTHER.get(name, name)]


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("scheduled", [False, True])
def test_defaults_signature_and_state_are_optaxs(name: str, scheduled: bool) -> None:
    both = getattr(optim, name), theirs(name)
    plain = [
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in both
    ]
    assert plain[0] == plain[1]

    def rate(count: Any) -> Any:
        return 0.1 / (1 + count.astype(jnp.float64))

    kw, spec = {"learning_rate": rate if scheduled else 0.05}, entry_of(name)
    tj.assert_same(ours(spec, name, kw, 5), reference(spec, name, kw, 5), name)
    params = as_tree(tj.parameters(spec))
    states = [f(**kw).init(params) for f in both]
    flat = [jax.tree_util.tree_flatten_with_path(s)[0] for s in states]
    rows = [[(jax.tree_util.keystr(k), v.shape, v.dtype) for k, v in f] for f in flat]
    assert rows[0] == rows[1]
    updates, after = both[0](**kw).update(params, states[0], params)
    assert jax.tree.structure(after) == jax.tree.structure(states[0])
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)


def test_every_trial_is_run_by_a_framework() -> None:
    pytest.importorskip("torch")
    from tests import torch_optimizers

    for spec, trial in ((s, t) for s in ALL for t in s.trials if call(s, t) is None):
        assert torch_optimizers.takes_all(spec, trial), (spec.name, trial)


@each_spec
def test_float32_steps_are_rounded_once(spec: Optimizer) -> None:
    """bfloat16 parameters and moments: every stored value is the specification's, rounded once."""
    trial = next(t for s, t in CASES if s is spec and t and not t.get("centered"))
    name, kw = call(spec, trial)
    tx = getattr(optim, name)(**kw)
    p, g = (
        jnp.asarray(np.random.default_rng(k).normal(size=(20, 10)), jnp.bfloat16) for k in (0, 1)
    )
    updates, state = tx.update(g, tx.init(p), p)
    assert updates.dtype == jnp.bfloat16
    options, start = tj.complete(spec, trial), np.asarray(p, np.float64)
    moved, want = spec.step(
        start, np.asarray(g, np.float64), spec.init(start, **options), 1, **options
    )
    # half an eps of bfloat16 for the one rounding, and a little for float32 before it
    limit = 0.51 * float(jnp.finfo(jnp.bfloat16).eps)
    found = {v: fields(state).get(k) for k, v in STATE_OF.get(spec.name, STATE).items()}
    for key, value in {**want, "p": moved - start}.items():
        if key == "p" or key in found:
            got = np.ravel(np.asarray(updates if key == "p" else found[key], np.float64))
            value = np.ravel(value)
            assert np.all(np.abs(got - value) <= limit * np.abs(value)), key


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad"])
def test_mu_dtype_is_honoured(name: str) -> None:
    kw = {"learning_rate": 0.1, "mu_dtype": "bfloat16"}
    with jax.numpy_dtype_promotion("standard"):
        theirs = getattr(optax, name)(**kw)
        params = jnp.linspace(-1.0, 2.0, 7, dtype=jnp.float32)
        want, state = theirs.update(params, theirs.init(params), params)
    ours = getattr(optim, name)(**kw)
    got, found = ours.update(params, ours.init(params), params)
    assert found[0].mu.dtype == state[0].mu.dtype == jnp.bfloat16
    assert found[0].nu.dtype == got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=2e-5)  # optax's 1 - b2^t cancels in float32
    assert (
        optim.sgd(0.1, 0.9, accumulator_dtype="bfloat16").init(params)[0].trace.dtype == "bfloat16"
    )


def accepts(spec: Optimizer, options: dict[str, Any]) -> bool:
    try:
        spec.check(tj.complete(spec, options))
    except SpecError:
        return False
    return True


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", None) or x.message[:60],
)
def test_rejects(spec: Optimizer, reject: Any) -> None:
    if isinstance(reject.options.get("betas"), float):
        return  # two arguments here
    here = {k: v for k, v in FIXED[spec.name].items() if v != spec.options[k]}
    here.update(reject.options)
    found = call(spec, here)
    if found is None:  # an option this face does not have
        absent = {*FIXED[spec.name], *PARTLY.get(spec.name, ())}
        assert reject.options.keys() & absent
        return
    if here.keys() > reject.options.keys() and accepts(spec, here):
        return  # what is wrong with it is something this face does not have
    with pytest.raises(SpecError) as caught:
        getattr(optim, found[0])(**found[1])
    assert reject.message in str(caught.value)


def test_refusals_of_this_framework() -> None:
    tx, p = optim.adamw(0.1), jnp.ones(2)
    state = tx.init(p)
    with pytest.raises(SpecError, match="adamw: params is None, expected the parameters"):
        tx.update(p, state)
    for name, factory in OPTIMIZERS.items():
        tx = factory(0.1)
        for dtype in ("int32", "complex64"):
            p = jnp.ones((2, 2), dtype)
            state = tx.init(p)
            with pytest.raises(SpecError, match=f"{name}: a gradient has dtype {dtype}, expected"):
                tx.update(p, state, p)
        if inspect.signature(factory).parameters["learning_rate"].default is not None:
            with pytest.raises(SpecError, match=f"{name}: lr is None, expected a number"):
                factory(None)
