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

SPECS = {spec.name: spec for spec in ALL}
STATE = {"mu": "m", "nu": "v", "nu_max": "v_max", "trace": "buf", "sum_of_squares": "sum"}
NAMES = {"lr": "learning_rate", "alpha": "decay"}  # the entry's option -> optax's argument
# What optax fixes: a trial is one of its instances only where it asks for the same.
FIXED = {
    "sgd": {"dampening": 0.0, "weight_decay": 0.0},
    "adagrad": {"lr_decay": 0.0, "weight_decay": 0.0, "eps_in_sqrt": True},
    "rmsprop": {"weight_decay": 0.0, "lr_in_momentum": True},
    "adam": {"weight_decay": 0.0, "decoupled_weight_decay": False},
    "adamw": {"amsgrad": False},
}


def call(spec: Optimizer, trial: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The optax function and arguments of a set of options, or None where optax has no instance."""
    options, name = tj.complete(spec, trial), spec.name
    if options.get("momentum", 1) == 0:
        options["lr_in_momentum"], options["momentum"] = True, None  # without momentum the same
    fixed = FIXED[name]
    if any(options[k] != v for k, v in fixed.items()):
        return None
    given = {NAMES.get(k, k): v for k, v in options.items() if k not in fixed}
    if name == "sgd" or name == "rmsprop":
        given.pop("lr_in_momentum", None)
    if name in ("adam", "adamw"):
        given["b1"], given["b2"] = given.pop("betas")
    if name == "adam":
        corrected = given.pop("max_corrected")
        both = given["bias_correction_mu"] and given["bias_correction_nu"]
        if given.pop("amsgrad"):
            if given.pop("nesterov") or (given["bias_correction_nu"] and not corrected):
                return None
            return "amsgrad", given
        if not both:
            return None
        del given["bias_correction_mu"], given["bias_correction_nu"]
    return name, given


CASES = [(s, t) for s in ALL for t in s.trials if call(s, t) is not None]
each_case = pytest.mark.parametrize(("spec", "trial"), CASES, ids=tj.label)
each_spec = pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)


def as_tree(arrays: list[Any]) -> dict[str, Any]:
    a, b, c, d, e = (jnp.asarray(x) for x in arrays)
    return {"w": a, "inner": [b, (c, d)], "z": e}


def as_list(tree: Any) -> list[Any]:
    return [tree["w"], tree["inner"][0], *tree["inner"][1], tree["z"]]


def fields(state: Any) -> dict[str, Any]:
    """Every array tree of a nest of named tuples by its field; the first count met is the step."""
    found: dict[str, Any] = {}
    for name, value in zip(getattr(state, "_fields", [""] * len(state)), state, strict=True):
        if isinstance(value, tuple):
            found = {**fields(value), **found}
        else:
            found.setdefault(name, value)
    return found


def stepper(tx: Any, update: Any = None) -> Any:
    held = as_tree(tj.parameters())
    state = tx.init(held)
    move = update or tx.update

    def run(gs: list[Any]) -> Any:
        nonlocal held, state
        updates, state = move(as_tree(gs), state, held)
        held = jax.tree.map(jnp.add, held, updates)
        found = fields(state)
        columns = {v: as_list(found[k]) for k, v in STATE.items() if k in found}
        rows = [{k: v[i] for k, v in columns.items()} for i in range(len(tj.SHAPES))]
        if "count" in found:
            rows = [{**r, "t": found["count"]} for r in rows]
        return as_list(held), rows

    return run


def standard() -> Any:
    return jax.numpy_dtype_promotion("standard")  # optax mixes dtypes


def reference(name: str, kw: dict[str, Any], steps: int = tj.STEPS) -> tj.Path:
    with standard():
        tx = getattr(optax, name)(**kw)
        return tj.trajectory(stepper(tx), tj.gradients(absent=False, steps=steps))


def spec_path(spec: Optimizer, trial: dict[str, Any]) -> tj.Path:
    full = [tj.complete(spec, trial)] * len(tj.SHAPES)
    run = tj.spec_stepper(spec, full, tj.parameters())
    return tj.trajectory(run, tj.gradients(absent=False))


@each_case
def test_trajectory(spec: Optimizer, trial: dict[str, Any]) -> None:
    want = spec_path(spec, trial)
    name, kw = call(spec, trial)
    tj.assert_same(reference(name, kw), want, "optax against the specification")
    tx = getattr(optim, name)(**kw)
    got = tj.trajectory(stepper(tx), tj.gradients(absent=False))
    tj.assert_same(got, want, "bpx_jax")


@pytest.mark.parametrize("name", optim.__all__)
@pytest.mark.parametrize("scheduled", [False, True])
def test_defaults_signature_and_state_are_optaxs(name: str, scheduled: bool) -> None:
    ours, theirs = getattr(optim, name), getattr(optax, name)
    plain = [
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (ours, theirs)
    ]
    assert plain[0] == plain[1]

    def rate(count: Any) -> Any:
        return 0.1 / (1 + count.astype(jnp.float64))

    kw = {"learning_rate": rate if scheduled else 0.05}
    got = tj.trajectory(stepper(ours(**kw)), tj.gradients(absent=False, steps=5))
    tj.assert_same(got, reference(name, kw, steps=5), name)
    params = as_tree(tj.parameters())
    states = [tx.init(params) for tx in (ours(**kw), theirs(**kw))]
    flat = [jax.tree_util.tree_flatten_with_path(s)[0] for s in states]
    rows = [[(jax.tree_util.keystr(k), v.shape, v.dtype) for k, v in f] for f in flat]
    assert rows[0] == rows[1]
    updates, after = ours(**kw).update(params, states[0], params)
    assert jax.tree.structure(after) == jax.tree.structure(states[0])
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)


OPTAX_ONLY = {"eps_in_sqrt", "eps_root", "initial_scale", "lr_in_momentum", "max_corrected"}
OPTAX_ONLY |= {"bias_correction", "bias_correction_mu", "bias_correction_nu"}


def test_a_trial_without_optax_is_one_of_torchs() -> None:
    """So that every trial is compared with a framework's own optimizer."""
    for spec, trial in ((s, t) for s in ALL for t in s.trials if call(s, t) is None):
        assert not trial.keys() & OPTAX_ONLY
        assert not trial.get("nesterov") or spec.name == "sgd"


@each_spec
def test_float32_steps_are_rounded_once(spec: Optimizer) -> None:
    """bfloat16 parameters and moments: every stored value is the specification's, rounded once."""
    trial = next(t for s, t in CASES if s is spec and t and not t.get("centered"))
    name, kw = call(spec, trial)
    tx = getattr(optim, name)(**kw)
    p = jnp.asarray(np.random.default_rng(0).normal(size=200), jnp.bfloat16)
    g = jnp.asarray(np.random.default_rng(1).normal(size=200), jnp.bfloat16)
    updates, state = tx.update(g, tx.init(p), p)
    assert updates.dtype == jnp.bfloat16
    options = tj.complete(spec, trial)
    start = np.zeros(200) if spec.name != "adamw" else np.asarray(p, np.float64)
    moved, want = spec.step(
        start, np.asarray(g, np.float64), spec.init(start, **options), 1, **options
    )
    # half an eps of bfloat16 for the one rounding, and a little for float32 before it
    limit = 0.51 * float(jnp.finfo(jnp.bfloat16).eps)
    found = {STATE[k]: v for k, v in fields(state).items() if k in STATE}
    for key, value in {**want, "p": moved - start}.items():
        got = np.asarray(updates if key == "p" else found[key], np.float64)
        assert np.max(np.abs(got - value) / np.abs(value)) < limit, key


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad"])
def test_mu_dtype_is_honoured(name: str) -> None:
    kw = {"learning_rate": 0.1, "mu_dtype": "bfloat16"}
    with standard():
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


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", None) or x.message[:60],
)
def test_rejects(spec: Optimizer, reject: Any) -> None:
    if isinstance(reject.options.get("betas"), float):
        return  # two arguments here
    fixed = {k: v for k, v in FIXED[spec.name].items() if v is True}
    found = call(spec, {**fixed, **reject.options})
    if found is None:  # an option this face does not have
        absent = {*FIXED[spec.name], "bias_correction_mu"}
        assert reject.options.keys() & absent
        return
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
            p = jnp.ones(2, dtype)
            state = tx.init(p)
            with pytest.raises(SpecError, match=f"{name}: a gradient has dtype {dtype}, expected"):
                tx.update(p, state, p)
        with pytest.raises(SpecError, match=f"{name}: lr is None, expected a number"):
            factory(None)
