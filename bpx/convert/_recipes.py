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
    that goes before it, torch's lr_decay (lr / (1 + count * lr_decay)), what is subtracted of the
    parameters besides (lr * a decoupled decay), whether gradients change sign first, and the norm
    of all of them that they are cut to."""

    name: str
    arguments: Options
    decay: float = 0.0
    lr_decay: float = 0.0
    decoupled: float = 0.0
    maximize: bool = False
    clip: float | None = None


def zero(name: str, options: Options, key: str, why: str) -> None:
    value = options.get(key) or 0
    require(value == 0, f"convert: {name}: {key} is {value!r}, expected 0 ({why})")


def _decays(o: Options) -> dict[str, Any]:
    """The coupled decay, or the decoupled one, as arguments of a Recipe."""
    if o.get("decoupled_weight_decay"):
        return {"decoupled": o["lr"] * o["weight_decay"]}
    return {"decay": o["weight_decay"]}


def sgd(o: Options) -> Recipe:
    velocity = {"momentum": o["momentum"] or None, "nesterov": bool(o.get("nesterov"))}
    inside = bool(o.get("lr_in_momentum")) and velocity["momentum"] is not None
    rate = o["lr"] if inside else o["lr"] * undamped(o)
    more = {"lr_in_momentum": True} if inside else {}
    return Recipe("sgd", {"learning_rate": rate, **velocity, **more}, **_decays(o))


def undamped(o: Options) -> float:
    """1 - dampening: what torch's velocity is of optax's, from its second step on."""
    share = 1 - (o.get("dampening") or 0) if o["momentum"] else 1
    require(
        share != 0 and (share == 1 or not o.get("lr_in_momentum")),
        f"convert: sgd: dampening is {o.get('dampening')!r}, expected another (optax has none, and "
        "its velocity is torch's over 1 - dampening)",
    )
    return share


def adagrad(o: Options) -> Recipe:
    inside, decays = bool(o.get("eps_in_sqrt")), _decays(o)
    if decays.get("decoupled"):
        zero("adagrad", o, "lr_decay", "a decoupled decay has a rate of its own in optax")
    start = {"initial_accumulator_value": o["initial_accumulator_value"], "eps": o["eps"]}
    rate = {"learning_rate": o["lr"], **start, "eps_in_sqrt": inside}
    return Recipe("adagrad", rate, lr_decay=o["lr_decay"], **decays)


def rmsprop(o: Options) -> Recipe:
    names = {"learning_rate": o["lr"], "decay": o["alpha"], "eps": o["eps"]}
    more = {"centered": bool(o["centered"]), "momentum": o["momentum"] or None}
    inside = {"eps_in_sqrt": bool(o.get("eps_in_sqrt"))}
    return Recipe("rmsprop", {**names, **more, **inside}, **_decays(o))


def velocity_scale(o: Options) -> float:
    """optax's velocity of RMSprop over torch's."""
    return 1.0 if o.get("lr_in_momentum") else -float(o["lr"])


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
        return Recipe("amsgrad", _amsgrad(o), decoupled=o["lr"] * o["weight_decay"])
    return Recipe("adamw", {**_hat(o), "weight_decay": o["weight_decay"]})


def adadelta(o: Options) -> Recipe:
    rates = {"learning_rate": o["lr"], "rho": o["rho"], "eps": o["eps"]}
    return Recipe("adadelta", rates, o["weight_decay"])


def adamax(o: Options) -> Recipe:
    outside = {"eps_outside": True} if o.get("eps_outside") else {}
    return Recipe("adamax", {**_moments(o), **outside}, **_decays(o))


def radam(o: Options) -> Recipe:
    where = {key: bool(o.get(key)) for key in ("eps_corrected", "inclusive")}
    return Recipe("radam", {**_moments(o), **where}, **_decays(o))


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
    phi, decay = o["phi"], o["weight_decay"]
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
    return Recipe("lamb", {**_moments(o), **more}, clip=o["max_grad_norm"])


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
