"""Which trials of an optimizer's entry bpx_jax takes, and optax's optimizer for them.

A new optimizer gets a line in FIXED; one whose arguments differ from the entry's options by more
than a name, or whose states have other fields, one in ARGUMENTS and STATE too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from optax._src import factorized

from bpx.optimizers import ALL
from bpx.spec import Optimizer
from tests import trajectories as tj

# optax's field -> the entry's state
STATE = {"mu": "m", "nu": "v", "nu_max": "v_max", "trace": "buf", "sum_of_squares": "sum"}
STATE_OF: dict[str, dict[str, str]] = {  # where an optimizer's fields mean something else
    "adafactor": {"v_row": "row", "v_col": "col", "v": "v", "ema": "m"},
    "muon": {"mu": "buf"},
    "shampoo": {"mu": "m"},
    "schedule_free_sgd": {"z": "z"},
    "schedule_free_adamw": {"z": "z", "nu": "v"},
    "adadelta": {"e_g": "v", "e_x": "u"},
    "adamax": {"mu": "m", "nu": "u"},
    "nadam": {"mu": "m", "nu": "v", "mu_product": "mu_product"},
    "rprop": {"step_sizes": "step_size"},  # prev_updates has the sign of prev, with another size
}
# States that optax shapes differently: without the axis that was averaged, one 0 for none.
FLAT: dict[str, tuple[str, ...]] = {"adafactor": ("row", "col", "v")}
NAMES = {"lr": "learning_rate", "alpha": "decay"}  # the entry's option -> optax's argument

# Options that the JAX function does not have: a trial is run only where it asks for these values.
FIXED: dict[str, dict[str, Any]] = {
    "sgd": {"dampening": 0.0, "weight_decay": 0.0, "decoupled_weight_decay": False},
    "adagrad": {
        "lr_decay": 0.0,
        "weight_decay": 0.0,
        "eps_in_sqrt": True,
        "decoupled_weight_decay": False,
    },
    "rmsprop": {"weight_decay": 0.0, "lr_in_momentum": True, "decoupled_weight_decay": False},
    "adam": {"weight_decay": 0.0, "decoupled_weight_decay": False, "eps_hat": False},
    "adamw": {"amsgrad": False, "eps_hat": False},
    "lars": {"norm_of_sum": True, "lr_in_momentum": True},
    "lamb": {
        "max_grad_norm": None,
        "adam_w_mode": True,
        "grad_averaging": True,
        "bias_correction": True,
        "use_nvlamb": True,
        "phi": None,
    },
    "adafactor": {
        "eps_in_square": True,
        "relative_step": False,
        "decay_by_lr": False,
        "largest_axes": True,
    },
    "muon": {"bias_correction": True, "eps_added": True, "inputs_first": True},
    "shampoo": {"decoupled_weight_decay": True},
    "schedule_free_sgd": {"r": 0.0},
    "schedule_free_adamw": {"r": 0.0},
    "adadelta": {},
    "rprop": {"clamp_unchanged": False},
    "adamax": {"eps_outside": False},
    "nadam": {},
    "radam": {
        "weight_decay": 0.0,
        "decoupled_weight_decay": False,
        "eps_corrected": True,
        "inclusive": True,
    },
    "lion": {},
}

# Arguments that decide shapes or counts, and so cannot be arrays.
STATIC = ("min_dim_size_to_factor", "ns_steps", "warmup_steps", "update_freq", "max_dim")


def _exact_decay(steps: Any, exponent: Any) -> Any:
    return 1.0 - jnp.asarray(steps + 1, jnp.float64) ** -exponent


# optax computes Adafactor's decay in float32, whatever the parameters are; here it is exact.
factorized.scale_by_factored_rms = functools.partial(
    factorized.scale_by_factored_rms, decay_rate_fn=_exact_decay
)

Call = tuple[str, dict[str, Any]]


def _sgd(given: dict[str, Any]) -> Call | None:
    inside = given.pop("lr_in_momentum")
    return None if inside and given["momentum"] is not None else ("sgd", given)


def _rmsprop(given: dict[str, Any]) -> Call | None:
    given.pop("lr_in_momentum", None)
    return "rmsprop", given


def _adam(given: dict[str, Any]) -> Call | None:
    corrected = given.pop("max_corrected")
    both = given["bias_correction_mu"] and given["bias_correction_nu"]
    if given.pop("amsgrad"):
        if given.pop("nesterov") or (given["bias_correction_nu"] and not corrected):
            return None
        return "amsgrad", given
    if not both:
        return None
    del given["bias_correction_mu"], given["bias_correction_nu"]
    return "adam", given


def _adafactor(given: dict[str, Any]) -> Call | None:
    eps, floor = given["eps"]
    if floor != 1e-3:
        return None
    renamed = {
        "decay_rate": -given.pop("beta2_decay"),
        "clipping_threshold": given.pop("d"),
        "multiply_by_parameter_scale": given.pop("parameter_scale"),
        "weight_decay_rate": given.pop("weight_decay") or None,
        "momentum": given.pop("momentum") or None,
    }
    # a type as the default would be taken for a schedule by optax.inject_hyperparams
    return "adafactor", {**given, **renamed, "eps": eps, "dtype_momentum": "float64"}


def _muon(given: dict[str, Any]) -> Call | None:
    how, rms = given.pop("adjust_lr_fn"), given.pop("rms")
    if how not in (None, "match_rms_adamw") or (how is None and rms != 0.2):
        return None
    renamed = {"ns_coeffs": given.pop("ns_coefficients"), "beta": given.pop("momentum")}
    return "muon", {**given, **renamed, "consistent_rms": None if how is None else rms}


def _adamax(given: dict[str, Any]) -> Call | None:
    if given.pop("decoupled_weight_decay"):
        return "adamaxw", given
    return None if given.pop("weight_decay") else ("adamax", given)


def _rprop(given: dict[str, Any]) -> Call | None:
    given["eta_minus"], given["eta_plus"] = given.pop("etas")
    given["min_step_size"], given["max_step_size"] = given.pop("step_sizes")
    return "rprop", given


def _schedule_free(name: str, given: dict[str, Any]) -> Call | None:
    late, warmup = given.pop("late_warmup"), given.pop("warmup_steps")
    if warmup > 0 and not late:
        return None
    if "momentum" in given:
        given["b1"] = given.pop("momentum")
        given["weight_decay"] = given["weight_decay"] or None
    return name, {**given, "warmup_steps": warmup or None}


# arguments under optax's names -> the function's name and its arguments
ARGUMENTS: dict[str, Callable[[dict[str, Any]], Call | None]] = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adafactor": _adafactor,
    "muon": _muon,
    "shampoo": lambda given: ("shampoo", {**given, "momentum": given["momentum"] or None}),
    "schedule_free_sgd": functools.partial(_schedule_free, "schedule_free_sgd"),
    "schedule_free_adamw": functools.partial(_schedule_free, "schedule_free_adamw"),
    "adamax": _adamax,
    "nadam": lambda given: ("scheduled_nadam", given),
    "rprop": _rprop,
}

# Options that the JAX function has in part.
PARTLY: dict[str, set[str]] = {
    "adam": {"bias_correction_mu"},
    "adafactor": {"eps"},
    "muon": {"adjust_lr_fn", "rms"},
    "schedule_free_sgd": {"warmup_steps", "late_warmup"},
    "schedule_free_adamw": {"warmup_steps", "late_warmup"},
    "adamax": {"weight_decay"},
}

# Functions of bpx_jax.optim that optax does not have, or has with another meaning: they are held to
# the specification alone. The value says why.
NOT_OPTAXS = {
    "shampoo": "optax has none",
    "scheduled_nadam": "optax's momentum is constant",
    "rprop": "optax moves one call late",
}


def call(spec: Optimizer, trial: dict[str, Any]) -> Call | None:
    """The function of bpx_jax.optim and its arguments, or None where it has not all options."""
    options = tj.complete(spec, trial)
    if spec.name in ("sgd", "rmsprop") and options["momentum"] == 0:
        options["lr_in_momentum"], options["momentum"] = True, None  # without momentum the same
    fixed = FIXED[spec.name]
    if any(options[k] != v for k, v in fixed.items()):
        return None
    known = spec.options.keys() - fixed.keys()
    given = {NAMES.get(k, k): v for k, v in options.items() if k in known}
    if "betas" in given:
        given["b1"], given["b2"] = given.pop("betas")
    if spec.name in ARGUMENTS:
        return ARGUMENTS[spec.name](given)
    return spec.name, given


CASES = [(s, t) for s in ALL for t in s.trials if call(s, t) is not None]


def loud(name: str) -> dict[str, Any]:
    """The arguments of the trial with the most options that function `name` takes."""
    found = [(len(t), i) for i, (s, t) in enumerate(CASES) if t and call(s, t)[0] == name]
    kw = call(*CASES[max(found)[1]])[1] if found else {}
    return {**kw, "learning_rate": 0.125}  # optax's warm-up is in float32: a power of 2 is exact


def theirs(name: str) -> Any:
    """optax's function of this name, or None."""
    if name in NOT_OPTAXS:
        return None
    return getattr(optax, name, None) or getattr(optax.contrib, name)
