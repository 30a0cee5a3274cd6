"""Profiles of optimizers against the library each is named after, by trajectory in float64: the
specification, bpx_torch (both loops) and bpx_jax under the profile, with the rate at its default
and with one that changes at every step."""

from __future__ import annotations

import inspect
from typing import Any

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
from tests.optax_arguments import factorized  # noqa: F401  # Adafactor's decay in float64
from tests.profile_runs import (
    RATES,
    gradients,
    spelled,
    start,
    with_jax,
    with_keras,
    with_spec,
    with_torch,
)

pytestmark = pytest.mark.slow

jnp = jax.numpy
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
    "muon": ("Muon", "muon", "Muon"),  # in optax.contrib
    "adafactor": ("Adafactor", "adafactor", "Adafactor"),
    "rprop": ("Rprop", "rprop", ""),
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
    "muon": ({"nesterov": False}, {"ns_steps": 3, "weight_decay": 0.2}),
    "adafactor": (
        {"eps": (1e-3, 1e-3), "d": 1.5, "beta2_decay": -0.6},
        {"weight_decay": 0.2},
        {"min_dim_size_to_factor": 2},
    ),
    "rprop": ({"step_sizes": (1e-3, 0.5)}, {"etas": (0.4, 1.3)}),
}
LIBRARIES = ("torch", "optax", "keras")
WITH_DECAY = ("adamw", "nadam", "lion", "lars", "lamb", "muon", "adafactor")  # of bpx_jax


def decays(entry: str, profile: str) -> bool:
    """Whether the library's optimizer has a weight decay that is an option of the entry."""
    none = "keras" if entry in ("lars", "lamb", "adafactor") else "optax"
    return entry in ("adamw", "lion", "muon") or profile != none


CASES = [
    (entry, profile, given)
    for entry in NAMES
    for profile in TABLE[entry]
    for given in ({}, *GIVEN[entry])
    if ("weight_decay" not in given or decays(entry, profile))
    and ("min_dim_size_to_factor" not in given or profile == "optax")
    and (entry, profile) != ("rprop", "optax")  # a step late: test_profiles_rprop.py
]


OPTAX = {"lr": "learning_rate", "alpha": "decay"}
PAIRS = {"step_sizes": ("min_step_size", "max_step_size"), "etas": ("eta_minus", "eta_plus")}
KERAS = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon"}


def of_adafactor(given: dict[str, Any], keras: bool) -> dict[str, Any]:
    """Adafactor's options under keras's names, or optax's."""
    options = dict(given)
    if keras:
        names = {"d": "clip_threshold", "beta2_decay": "beta_2_decay"}
        if "eps" in options:
            options["epsilon_1"], options["epsilon_2"] = options.pop("eps")
    else:
        names = {"d": "clipping_threshold", "weight_decay": "weight_decay_rate"}
        if "eps" in options:
            options["eps"] = options["eps"][0]  # the second is a constant there, 1e-3
        if "beta2_decay" in options:
            options["decay_rate"] = -options.pop("beta2_decay")
    return {names.get(k, k): v for k, v in options.items()}


def library(entry: str, profile: str, rates: Any, given: dict[str, Any]) -> list[Any]:
    name = dict(zip(LIBRARIES, NAMES[entry], strict=True))[profile]
    if profile == "torch":
        with torch_optimizers.float64_scalars(), pytest.MonkeyPatch.context() as patch:
            # Muon's iteration in float64
            patch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
            return with_torch(getattr(torch.optim, name), entry, rates, given)
    with lenient():
        if entry == "adafactor":
            given = of_adafactor(given, profile == "keras")
        if profile == "keras":
            options = spelled(given, KERAS, ("beta_1", "beta_2"))
            with pytest.MonkeyPatch.context() as patch:
                # operations of Muon and Adafactor that would be float32: the norm, the mean, the
                # root of a whole number
                mean = lambda x, **axes: jnp.mean(jnp.asarray(x), **axes)  # noqa: E731
                patch.setattr(keras.src.ops, "mean", mean)
                norm = lambda x, **axes: jnp.linalg.norm(jnp.asarray(x), **axes)  # noqa: E731
                patch.setattr(keras.src.ops, "norm", norm)
                root = lambda x: jnp.sqrt(jnp.asarray(x, jnp.float64))  # noqa: E731
                patch.setattr(keras.src.ops, "sqrt", root)
                return with_keras(getattr(keras.optimizers, name), entry, rates, options)
        options = spelled(given, OPTAX, ("b1", "b2"))
        name = "amsgrad" if options.pop("amsgrad", False) else name
        module = optax.contrib if entry == "muon" else optax
        return with_jax(getattr(module, name), entry, rates, options)


def in_jax(entry: str, given: dict[str, Any]) -> Any:
    """(the function, its options), or None where it has not all of them."""
    given = of_adafactor(given, False) if entry == "adafactor" else given
    options = spelled(given, OPTAX, ("b1", "b2"))
    name = "amsgrad" if options.pop("amsgrad", False) else NAMES[entry][1]
    if "weight_decay" in options and entry not in WITH_DECAY:
        return None
    if entry == "rprop":
        limits = zip(
            ("min_step_size", "max_step_size"), options.pop("step_sizes", ()), strict=False
        )
        etas = zip(("eta_minus", "eta_plus"), options.pop("etas", ()), strict=False)
        options |= {**dict(limits), **dict(etas)}
    return getattr(of_jax, name), options


def limit(entry: str) -> float:
    # keras takes 1 - beta^t by a power, whose rounding is 1e-16 / (1 - beta) of it
    return max(tj.LIMITS.get(entry, 0.0), 1e-11)


@pytest.mark.parametrize(("entry", "profile", "given"), CASES, ids=tj.label)
def test_trajectory(entry: str, profile: str, given: dict[str, Any]) -> None:
    default = settings(entry, profile)["lr"] is not REQUIRED
    every = (None, RATES) if default and not given else (RATES,)
    for rates in (None,) if entry == "rprop" else every:  # its rate is a first size alone
        want, bound = library(entry, profile, rates, given), limit(entry)
        lr = {} if default else {"lr": 0.1}
        full = {**settings(entry, profile), **lr, **given}
        tj.assert_same(with_spec(entry, rates, full), want, "the specification", bound)
        for foreach in (False, True):
            options = {**given, **lr, "profile": profile, "foreach": foreach}
            cls = getattr(of_torch, NAMES[entry][0])
            if "foreach" not in inspect.signature(cls).parameters:
                del options["foreach"]
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
    rates = None if spec.name == "rprop" else RATES
    want = with_spec(spec.name, rates, trial)
    cls = OPTIMIZERS[spec.name]
    if spec.name == "muon":  # it has neither foreach nor differentiable
        got = with_torch(cls, spec.name, rates, trial)
        return tj.assert_same(got, want, "bpx_torch", limit(spec.name))
    got = with_torch(cls, spec.name, rates, {**trial, "foreach": foreach})
    tj.assert_same(got, want, f"foreach={foreach}", limit(spec.name))
    if "differentiable" not in inspect.signature(cls).parameters:
        return None
    params = [torch.tensor(p) for p in start(spec.name)]
    optimizer = cls(params, **trial, differentiable=True)  # out of place
    for p, g in zip(params, gradients(spec.name)[0], strict=True):
        p.grad = torch.tensor(g)
    optimizer.step()
    got = [([p.numpy() for p in params], [{}] * len(params))]
    tj.assert_same(got, with_spec(spec.name, None, trial)[:1], "differentiable", limit(spec.name))


# pairs that differ in the rate, or in a weight decay or an eps of the case, alone
SAME = {("sgd", "optax", "torch"), ("adagrad", "keras", "optax"), ("adadelta", "optax", "torch")}
SAME |= {("adafactor", "keras", "torch")}  # in eps
SAME |= {("adamax", "optax", "torch"), ("rprop", "optax", "torch")}  # rprop: of a rate within


@pytest.mark.parametrize("entry", NAMES)
def test_profiles_move_differently(entry: str) -> None:
    """With one rate and otherwise their own defaults; so a profile that is not heard is seen."""
    given = GIVEN[entry][0]
    given = {k: v for k, v in given.items() if k not in ("eps", "alpha", "weight_decay", "d")}
    ends = {}
    for profile in TABLE[entry]:
        full = {**settings(entry, profile), **given, "lr": 0.1}
        ends[profile] = with_spec(entry, RATES, full)
    for a in ends:
        for b in ends:
            if a < b and (entry, a, b) not in SAME:
                assert tj.worst(ends[a], ends[b])[0] > 1e-8, (a, b)
