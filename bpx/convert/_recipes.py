"""torch.optim's options as the arguments of the optax-shaped optimizer that goes on as it would.

Source: torch 2.13, torch/optim; optax 0.2.8, optax/_src/alias.py and transform.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bpx.optimizers.adafactor import SPEC as ADAFACTOR
from bpx.optimizers.muon import SPEC as MUON
from bpx.spec import require

Options = Mapping[str, Any]
NONE = "optax has no such option"


@dataclass(frozen=True)
class Recipe:
    """The optax optimizer that goes on as torch's would: its name and arguments, the coupled decay
    that goes before it, and torch's lr_decay (lr / (1 + count * lr_decay))."""

    name: str
    arguments: Options
    decay: float = 0.0
    lr_decay: float = 0.0


def _zero(name: str, options: Options, key: str, why: str) -> None:
    value = options.get(key) or 0
    require(value == 0, f"convert: {name}: {key} is {value!r}, expected 0 ({why})")


def common(name: str, options: Options) -> None:
    require(
        not options.get("maximize"),
        f"convert: {name}: maximize is True, expected False (optax descends only)",
    )


# options that torch's own have not; a recipe names those that it passes on
BEYOND = (
    *("decoupled_weight_decay", "lr_in_momentum", "eps_in_sqrt", "eps_hat", "max_corrected"),
    *("eps_outside", "eps_corrected", "inclusive"),
)


def _only(name: str, o: Options, *passed: str) -> None:
    for key in BEYOND:
        needs_none = key == "decoupled_weight_decay" and not o.get("weight_decay")
        require(
            key in passed or needs_none or not o.get(key),
            f"convert: {name}: {key} is {o.get(key)!r}, expected False (it does not pass)",
        )


def sgd(o: Options) -> Recipe:
    _only("sgd", o)
    if o.get("momentum"):
        _zero("sgd", o, "dampening", "optax has none")
    velocity = {"momentum": o["momentum"] or None, "nesterov": bool(o.get("nesterov"))}
    return Recipe("sgd", {"learning_rate": o["lr"], **velocity}, o["weight_decay"])


def adagrad(o: Options) -> Recipe:
    _only("adagrad", o)
    _zero("adagrad", o, "eps", "outside of the root in torch, inside it in optax: 0 is both")
    start = {"initial_accumulator_value": o["initial_accumulator_value"], "eps": 0.0}
    rate = {"learning_rate": o["lr"], **start}
    return Recipe("adagrad", rate, o["weight_decay"], o["lr_decay"])


def rmsprop(o: Options) -> Recipe:
    _only("rmsprop", o)
    names = {"learning_rate": o["lr"], "decay": o["alpha"], "eps": o["eps"]}
    more = {"centered": bool(o["centered"]), "momentum": o["momentum"] or None}
    return Recipe("rmsprop", {**names, **more, "eps_in_sqrt": False}, o["weight_decay"])


def _moments(o: Options) -> dict[str, Any]:
    b1, b2 = o["betas"]
    return {"learning_rate": o["lr"], "b1": b1, "b2": b2, "eps": o["eps"]}


def _amsgrad(o: Options) -> dict[str, Any]:
    return {**_hat(o), "max_corrected": bool(o.get("max_corrected"))}


def _hat(o: Options) -> dict[str, Any]:
    return {**_moments(o), **({"eps_hat": True} if o.get("eps_hat") else {})}


def adam(o: Options) -> Recipe:
    if o.get("decoupled_weight_decay"):
        return adamw(o)
    if o.get("amsgrad"):
        return Recipe("amsgrad", _amsgrad(o), o["weight_decay"])
    return Recipe("adam", _hat(o), o["weight_decay"])


def adamw(o: Options) -> Recipe:
    if o.get("amsgrad"):
        _zero("adamw", o, "weight_decay", "amsgrad has no decoupled decay in optax")
        return Recipe("amsgrad", _amsgrad(o))
    return Recipe("adamw", {**_hat(o), "weight_decay": o["weight_decay"]})


def adadelta(o: Options) -> Recipe:
    rates = {"learning_rate": o["lr"], "rho": o["rho"], "eps": o["eps"]}
    return Recipe("adadelta", rates, o["weight_decay"])


def adamax(o: Options) -> Recipe:
    _only("adamax", o, "eps_outside")
    outside = {"eps_outside": True} if o.get("eps_outside") else {}
    return Recipe("adamax", {**_moments(o), **outside}, o["weight_decay"])


def radam(o: Options) -> Recipe:
    _only("radam", o, "eps_corrected", "inclusive")
    where = {key: bool(o.get(key)) for key in ("eps_corrected", "inclusive")}
    return Recipe("radam", {**_moments(o), **where}, o["weight_decay"])


def nadam(o: Options) -> Recipe:
    names = ("weight_decay", "momentum_decay", "decoupled_weight_decay")
    return Recipe("scheduled_nadam", {**_moments(o), **{n: o[n] for n in names}})


def mu_product(o: Options, step: int) -> float:
    """The product of NAdam's momenta of the steps so far."""
    b1, decay = o["betas"][0], o["momentum_decay"]
    return math.prod(b1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in range(1, step + 1))


def rprop(o: Options) -> Recipe:
    (minus, plus), (low, high) = o["etas"], o["step_sizes"]
    factors = {"eta_minus": minus, "eta_plus": plus}
    limits = {"min_step_size": low, "max_step_size": high}
    return Recipe("rprop", {"learning_rate": o["lr"], **factors, **limits})


def lion(o: Options) -> Recipe:
    b1, b2 = o["betas"]
    return Recipe(
        "lion", {"learning_rate": o["lr"], "b1": b1, "b2": b2, "weight_decay": o["weight_decay"]}
    )


def lamb(o: Options) -> Recipe:
    limit, phi, decay = o["max_grad_norm"], o["phi"], o["weight_decay"]
    require(limit is None, f"convert: lamb: max_grad_norm is {limit!r}, expected None ({NONE})")
    require(phi is None, f"convert: lamb: phi is {phi!r}, expected None ({NONE})")
    for key in ("grad_averaging", "bias_correction"):
        require(bool(o[key]), f"convert: lamb: {key} is {o[key]!r}, expected True ({NONE})")
    for key in ("adam_w_mode", "use_nvlamb"):
        needed = (decay == 0) == (key == "use_nvlamb")
        require(
            bool(o[key]) or not needed,
            f"convert: lamb: {key} is {o[key]!r} with weight_decay {decay!r}, expected True "
            f"({NONE})",
        )
    more = {"eps_root": o["eps_root"], "weight_decay": decay}
    return Recipe("lamb", {**_moments(o), **more})


def lars(o: Options) -> Recipe:
    decay = o["weight_decay"]
    require(
        bool(o["norm_of_sum"]) or decay == 0,
        f"convert: lars: norm_of_sum is {o['norm_of_sum']!r} with weight_decay {decay!r}, expected "
        "True (optax takes the norm of the sum)",
    )
    require(
        bool(o["lr_in_momentum"]),
        "convert: lars: lr_in_momentum is False, expected True (as optax's velocity is)",
    )
    require(o["momentum"] > 0, "convert: lars: momentum is 0, expected more (optax keeps one)")
    names = ("weight_decay", "trust_coefficient", "eps", "momentum", "nesterov")
    return Recipe("lars", {"learning_rate": o["lr"], **{n: o[n] for n in names}})


def adafactor(o: Options) -> Recipe:
    full = {**ADAFACTOR.options, **o}
    (eps, eps2), decay = full["eps"], full["weight_decay"]
    rates = {"learning_rate": full["lr"], "decay_rate": -full["beta2_decay"], "eps": eps}
    named = {
        "clipping_threshold": full["d"],
        "multiply_by_parameter_scale": full["parameter_scale"],
        "momentum": full["momentum"] or None,
        "weight_decay_rate": decay or None,
        "eps2": eps2,
    }
    as_here = (
        *("decay_offset", "factored", "min_dim_size_to_factor", "eps_in_square"),
        *("relative_step", "decay_by_lr", "largest_axes"),
    )
    return Recipe("adafactor", {**rates, **named, **{n: full[n] for n in as_here}})


def muon(o: Options) -> Recipe:
    full = {**MUON.options, **o}
    matched = full["adjust_lr_fn"] == "match_rms_adamw"
    rows = full["ns_coefficients"]  # lists in a file
    several = isinstance(rows[0], (list, tuple))
    named = {
        "learning_rate": full["lr"],
        "ns_coeffs": tuple(map(tuple, rows)) if several else tuple(rows),
        "beta": full["momentum"],
        "consistent_rms": full["rms"] if matched else None,
    }
    as_here = ("ns_steps", "eps", "weight_decay", "nesterov", "bias_correction", "eps_added")
    return Recipe("muon", {**named, **{n: full[n] for n in (*as_here, "inputs_first")}})
