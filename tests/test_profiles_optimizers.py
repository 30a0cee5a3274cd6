"""Profiles of optimizers against the library each is named after, by trajectory in float64: the
specification, bpx_torch (both loops) and bpx_jax under the profile, with the rate at its default
and with one that changes at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from bpx.optimizers import ALL
from bpx.profiles import REQUIRED, TABLE, settings
from bpx_jax import optim as of_jax
from bpx_torch import optim as of_torch
from bpx_torch.optimizers import OPTIMIZERS
from tests import torch_optimizers
from tests import trajectories as tj
from tests.libraries import keras, lenient

pytestmark = pytest.mark.slow

jnp = jax.numpy
SPECS = {spec.name: spec for spec in ALL}
STEPS = 12
RATES = [0.1 / (1 + 0.3 * t) for t in range(STEPS)]
# entry -> the name in torch.optim (bpx_torch.optim), optax, keras.optimizers
NAMES = {
    "sgd": ("SGD", "sgd", "SGD"),
    "adagrad": ("Adagrad", "adagrad", "Adagrad"),
    "rmsprop": ("RMSprop", "rmsprop", "RMSprop"),
    "adam": ("Adam", "adam", "Adam"),
    "adamw": ("AdamW", "adamw", "AdamW"),
    "adadelta": ("Adadelta", "adadelta", "Adadelta"),
    "nadam": ("NAdam", "scheduled_nadam", "Nadam"),
    "radam": ("RAdam", "radam", ""),
    "adamax": ("Adamax", "adamax", "Adamax"),
    "lion": ("Lion", "lion", "Lion"),
    "lars": ("LARS", "lars", ""),
    "lamb": ("LAMB", "lamb", "Lamb"),
}
GIVEN: dict[str, tuple[dict[str, Any], ...]] = {
    "sgd": ({"momentum": 0.8}, {"momentum": 0.7, "nesterov": True}, {"weight_decay": 0.3}),
    "adagrad": ({"eps": 1e-3}, {"weight_decay": 0.2}),
    "rmsprop": ({"momentum": 0.7, "alpha": 0.8}, {"weight_decay": 0.2, "eps": 1e-4}),
    "adam": (
        {"amsgrad": True, "betas": (0.7, 0.9)},
        {"weight_decay": 0.3, "eps": 1e-3},
    ),
    "adamw": ({"weight_decay": 0.2, "betas": (0.6, 0.8)},),
    "adadelta": ({"rho": 0.8},),
    "nadam": ({"betas": (0.7, 0.9)}, {"weight_decay": 0.2}),
    "radam": (
        {"betas": (0.7, 0.95)},
        {"betas": (0.7, 0.8397685748659791), "eps": 1e-2},  # a rho is the threshold
        {"weight_decay": 0.2},
    ),
    "adamax": ({"betas": (0.7, 0.9)}, {"eps": 1e-2}, {"weight_decay": 0.2}),
    "lion": ({"betas": (0.7, 0.9)}, {"weight_decay": 0.2}),
    "lars": ({"weight_decay": 0.2, "nesterov": True}, {"eps": 1e-3}),
    "lamb": ({"betas": (0.7, 0.9)}, {"weight_decay": 0.2}),
}
LIBRARIES = ("torch", "optax", "keras")
WITH_DECAY = ("adamw", "nadam", "lion", "lars", "lamb")  # of the functions of bpx_jax


def decays(entry: str, profile: str) -> bool:
    """Whether the library's optimizer has a weight decay that is an option of the entry."""
    none = "keras" if entry in ("lars", "lamb") else "optax"
    return entry in ("adamw", "lion") or profile != none


CASES = [
    (entry, profile, given)
    for entry in NAMES
    for profile in TABLE[entry]
    for given in ({}, *GIVEN[entry])
    if "weight_decay" not in given or decays(entry, profile)
]


OPTAX = {"lr": "learning_rate", "alpha": "decay"}
KERAS = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon"}


def spelled(options: dict[str, Any], names: dict[str, str], betas: tuple[str, str]) -> Any:
    out = {names.get(k, k): v for k, v in options.items() if k != "betas"}
    return out | (dict(zip(betas, options["betas"], strict=True)) if "betas" in options else {})


def start(entry: str) -> list[Any]:
    return tj.parameters(SPECS[entry])


def gradients(entry: str) -> list[Any]:
    return tj.gradients(SPECS[entry], absent=False, steps=STEPS)


def with_torch(cls: Any, entry: str, rates: Any, options: dict[str, Any]) -> list[Any]:
    params = [torch.nn.Parameter(torch.tensor(p)) for p in start(entry)]
    optimizer, path = cls(params, **options), []
    for t, gs in enumerate(gradients(entry)):
        for p, g in zip(params, gs, strict=True):
            p.grad = torch.tensor(g)
        if rates:
            optimizer.param_groups[0]["lr"] = rates[t]
        optimizer.step()
        path.append(([p.detach().numpy().copy() for p in params], [{}] * len(params)))
    return path


def with_jax(make: Any, entry: str, rates: Any, options: dict[str, Any]) -> list[Any]:
    if rates:
        table = jnp.asarray(rates)
        options = {**options, "learning_rate": lambda count: table[count]}
    tx = make(**options)
    held = [jnp.asarray(p) for p in start(entry)]
    state, path = tx.init(held), []
    update = jax.jit(tx.update)
    for gs in gradients(entry):
        updates, state = update([jnp.asarray(g) for g in gs], state, held)
        held = [p + u for p, u in zip(held, updates, strict=True)]
        path.append(([np.asarray(p) for p in held], [{}] * len(held)))
    return path


def with_keras(cls: Any, entry: str, rates: Any, options: dict[str, Any]) -> list[Any]:
    held = [keras.Variable(p, dtype="float64") for p in start(entry)]
    optimizer, path = cls(**options), []
    for t, gs in enumerate(gradients(entry)):
        if rates:
            optimizer.learning_rate = rates[t]
        optimizer.apply([jnp.asarray(g) for g in gs], held)
        path.append(([np.asarray(p.value) for p in held], [{}] * len(held)))
    return path


def with_spec(entry: str, rates: Any, options: dict[str, Any]) -> list[Any]:
    spec, held, path = SPECS[entry], start(entry), []
    options = tj.complete(spec, options)
    states = [spec.init(p, **options) for p in held]
    for t, gs in enumerate(gradients(entry)):
        now = {**options, "lr": rates[t]} if rates else options
        moved = [spec.step(p, g, s, t + 1, **now) for p, g, s in zip(held, gs, states, strict=True)]
        held, states = [p for p, _ in moved], [s for _, s in moved]
        path.append((held, [{}] * len(held)))
    return path


def library(entry: str, profile: str, rates: Any, given: dict[str, Any]) -> list[Any]:
    name = dict(zip(LIBRARIES, NAMES[entry], strict=True))[profile]
    if profile == "torch":
        with torch_optimizers.float64_scalars():
            return with_torch(getattr(torch.optim, name), entry, rates, given)
    with lenient():
        if profile == "keras":
            options = spelled(given, KERAS, ("beta_1", "beta_2"))
            return with_keras(getattr(keras.optimizers, name), entry, rates, options)
        options = spelled(given, OPTAX, ("b1", "b2"))
        name = "amsgrad" if options.pop("amsgrad", False) else name
        return with_jax(getattr(optax, name), entry, rates, options)


def in_jax(entry: str, given: dict[str, Any]) -> Any:
    """(the function, its options), or None where it has not all of them."""
    options = spelled(given, OPTAX, ("b1", "b2"))
    name = "amsgrad" if options.pop("amsgrad", False) else NAMES[entry][1]
    if "weight_decay" in options and entry not in WITH_DECAY:
        return None
    return getattr(of_jax, name), options


def limit(entry: str) -> float:
    # keras takes 1 - beta^t by a power, whose rounding is 1e-16 / (1 - beta) of it
    return max(tj.LIMITS.get(entry, 0.0), 1e-11)


@pytest.mark.parametrize(("entry", "profile", "given"), CASES, ids=tj.label)
def test_trajectory(entry: str, profile: str, given: dict[str, Any]) -> None:
    default = settings(entry, profile)["lr"] is not REQUIRED
    for rates in (None, RATES) if default and not given else (RATES,):
        want, bound = library(entry, profile, rates, given), limit(entry)
        lr = {} if default else {"lr": 0.1}
        full = {**settings(entry, profile), **lr, **given}
        tj.assert_same(with_spec(entry, rates, full), want, "the specification", bound)
        for foreach in (False, True):
            options = {**given, **lr, "profile": profile, "foreach": foreach}
            cls = getattr(of_torch, NAMES[entry][0])
            got = with_torch(cls, entry, rates, options)
            tj.assert_same(got, want, f"bpx_torch, foreach={foreach}", bound)
        if found := in_jax(entry, given):
            make, options = found
            rate = {} if default else {"learning_rate": 0.1}
            got = with_jax(make, entry, rates, {**options, **rate, "profile": profile})
            tj.assert_same(got, want, "bpx_jax", bound)


BEYOND = [
    (spec, trial)
    for spec in ALL
    for trial in spec.trials
    if torch_optimizers.keywords(spec, trial) is None and torch_optimizers.takes_all(spec, trial)
]


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("spec", "trial"), BEYOND, ids=tj.label)
def test_options_that_torchs_own_has_not(spec: Any, trial: Any, foreach: bool) -> None:
    want = with_spec(spec.name, RATES, trial)
    cls = OPTIMIZERS[spec.name]
    got = with_torch(cls, spec.name, RATES, {**trial, "foreach": foreach})
    tj.assert_same(got, want, f"foreach={foreach}", limit(spec.name))
    params = [torch.tensor(p) for p in start(spec.name)]
    optimizer = cls(params, **trial, differentiable=True)  # out of place
    for p, g in zip(params, gradients(spec.name)[0], strict=True):
        p.grad = torch.tensor(g)
    optimizer.step()
    got = [([p.numpy() for p in params], [{}] * len(params))]
    tj.assert_same(got, with_spec(spec.name, None, trial)[:1], "differentiable", limit(spec.name))


# pairs that differ in the rate, or in a weight decay or an eps of the case, alone
SAME = {("sgd", "optax", "torch"), ("adagrad", "keras", "optax"), ("adadelta", "optax", "torch")}
SAME |= {("adamax", "optax", "torch")}


@pytest.mark.parametrize("entry", NAMES)
def test_profiles_move_differently(entry: str) -> None:
    """With one rate and otherwise their own defaults; so a profile that is not heard is seen."""
    given = GIVEN[entry][0]
    given = {k: v for k, v in given.items() if k not in ("eps", "alpha", "weight_decay")}
    ends = {}
    for profile in TABLE[entry]:
        full = {**settings(entry, profile), **given, "lr": 0.1}
        ends[profile] = with_spec(entry, RATES, full)
    for a in ends:
        for b in ends:
            if a < b and (entry, a, b) not in SAME:
                assert tj.worst(ends[a], ends[b])[0] > 1e-8, (a, b)
