"""The optimizers whose state passes between torch.optim and optax, and why others' does not.

    torch.optim    state                                 optax, field of its tuple
    SGD            momentum_buffer                       TraceState.trace
    Adagrad        sum                                   ScaleByRssState.sum_of_squares
    RMSprop        square_avg, grad_avg                  ScaleByRms..., ScaleByRStdDev...: nu, mu
                   momentum_buffer                       TraceState.trace = -lr * momentum_buffer
    Adam, AdamW    exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
    Adadelta       square_avg, acc_delta                 ScaleByAdaDeltaState.e_g, e_x
    Adamax         exp_avg, exp_inf                      ScaleByAdamState.mu, nu
    RAdam          exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
    Lion           exp_avg                               ScaleByLionState.mu
    LAMB           exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
    LARS           momentum_buffer                       TraceState.trace

Source: torch 2.13, torch/optim; optax 0.2.8, optax/_src/alias.py and transform.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bpx.spec import SpecError, require

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """The optax optimizer that goes on as torch's would: its name and arguments, the coupled decay
    that goes before it, and torch's lr_decay (lr / (1 + count * lr_decay))."""

    name: str
    arguments: Options
    decay: float = 0.0
    lr_decay: float = 0.0


@dataclass(frozen=True)
class Method:
    """One optimizer. slots: torch's key -> (optax's tuples, field); counts: whether torch's state
    has a "step"; scaled: keys that optax keeps multiplied by -lr; recipe(options) raises SpecError
    where optax has no setting for them; by_array: steps depend on the norm of a whole array, so
    that an array which is cut in another layout does not pass."""

    slots: Mapping[str, tuple[tuple[str, ...], str]]
    recipe: Callable[[Options], Recipe]
    counts: bool = True
    scaled: tuple[str, ...] = ()
    by_array: bool = False


def _zero(name: str, options: Options, key: str, why: str) -> None:
    value = options.get(key) or 0
    require(value == 0, f"convert: {name}: {key} is {value!r}, expected 0 ({why})")


def common(name: str, options: Options) -> None:
    require(
        not options.get("maximize"),
        f"convert: {name}: maximize is True, expected False (optax descends only)",
    )


def _sgd(o: Options) -> Recipe:
    if o.get("momentum"):
        _zero("sgd", o, "dampening", "optax has none")
    velocity = {"momentum": o["momentum"] or None, "nesterov": bool(o.get("nesterov"))}
    return Recipe("sgd", {"learning_rate": o["lr"], **velocity}, o["weight_decay"])


def _adagrad(o: Options) -> Recipe:
    _zero("adagrad", o, "eps", "outside of the root in torch, inside it in optax: 0 is both")
    start = {"initial_accumulator_value": o["initial_accumulator_value"], "eps": 0.0}
    rate = {"learning_rate": o["lr"], **start}
    return Recipe("adagrad", rate, o["weight_decay"], o["lr_decay"])


def _rmsprop(o: Options) -> Recipe:
    names = {"learning_rate": o["lr"], "decay": o["alpha"], "eps": o["eps"]}
    more = {"centered": bool(o["centered"]), "momentum": o["momentum"] or None}
    return Recipe("rmsprop", {**names, **more, "eps_in_sqrt": False}, o["weight_decay"])


def _moments(o: Options) -> dict[str, Any]:
    b1, b2 = o["betas"]
    return {"learning_rate": o["lr"], "b1": b1, "b2": b2, "eps": o["eps"]}


def _amsgrad(name: str, o: Options) -> None:
    require(
        not o.get("amsgrad"),
        f"convert: {name}: amsgrad is True, expected False (torch keeps the largest second moment, "
        "optax the largest corrected one: neither follows from the other)",
    )


def _adam(o: Options) -> Recipe:
    if o.get("decoupled_weight_decay"):
        return _adamw(o)
    _amsgrad("adam", o)
    return Recipe("adam", _moments(o), o["weight_decay"])


def _adamw(o: Options) -> Recipe:
    _amsgrad("adamw", o)
    return Recipe("adamw", {**_moments(o), "weight_decay": o["weight_decay"]})


def _adadelta(o: Options) -> Recipe:
    rates = {"learning_rate": o["lr"], "rho": o["rho"], "eps": o["eps"]}
    return Recipe("adadelta", rates, o["weight_decay"])


def _adamax(o: Options) -> Recipe:
    return Recipe("adamax", _moments(o), o["weight_decay"])


def _radam(o: Options) -> Recipe:
    _zero("radam", o, "eps", "torch adds it before the correction, optax after it: 0 is both")
    require(
        not (o.get("decoupled_weight_decay") and o["weight_decay"]),
        "convert: radam: decoupled_weight_decay is True, expected False (optax.radam has no decay)",
    )
    return Recipe("radam", _moments(o), o["weight_decay"])


def _lion(o: Options) -> Recipe:
    b1, b2 = o["betas"]
    return Recipe(
        "lion", {"learning_rate": o["lr"], "b1": b1, "b2": b2, "weight_decay": o["weight_decay"]}
    )


def _lamb(o: Options) -> Recipe:
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


def _lars(o: Options) -> Recipe:
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


NONE = "optax has no such option"
_ADAM = ("ScaleByAdamState",)
_RMS = ("ScaleByRmsState", "ScaleByRmsWithCountState")
_DEVIATION = ("ScaleByRStdDevState", "ScaleByRStdDevWithCountState")
_MOMENTS = {"exp_avg": (_ADAM, "mu"), "exp_avg_sq": (_ADAM, "nu")}
METHODS: dict[str, Method] = {
    "SGD": Method({"momentum_buffer": (("TraceState",), "trace")}, _sgd, counts=False),
    "Adagrad": Method({"sum": (("ScaleByRssState",), "sum_of_squares")}, _adagrad),
    "RMSprop": Method(
        {
            "square_avg": ((*_RMS, *_DEVIATION), "nu"),
            "grad_avg": (_DEVIATION, "mu"),
            "momentum_buffer": (("TraceState",), "trace"),
        },
        _rmsprop,
        scaled=("momentum_buffer",),
    ),
    "Adam": Method(_MOMENTS, _adam),
    "AdamW": Method(_MOMENTS, _adamw),
    "Adadelta": Method(
        {
            "square_avg": (("ScaleByAdaDeltaState",), "e_g"),
            "acc_delta": (("ScaleByAdaDeltaState",), "e_x"),
        },
        _adadelta,
    ),
    "Adamax": Method({"exp_avg": (_ADAM, "mu"), "exp_inf": (_ADAM, "nu")}, _adamax),
    "RAdam": Method(_MOMENTS, _radam),
    "Lion": Method({"exp_avg": (("ScaleByLionState",), "mu")}, _lion, counts=False),
    "LAMB": Method(_MOMENTS, _lamb, by_array=True),
    "LARS": Method(
        {"momentum_buffer": (("TraceState",), "trace")}, _lars, counts=False, by_array=True
    ),
}
# the others: why their state does not pass
REFUSED: dict[str, str] = {
    "NAdam": "torch's momentum follows a schedule that optax has no setting for",
    "Rprop": "optax takes each step one call later than torch",
    "ASGD": "optax has none",
    "Adafactor": "optax factors other axes and clips otherwise",
    "LBFGS": "the two line searches keep different histories",
    "Muon": "optax scales the step otherwise, and steps other parameters by Adam",
    "SparseAdam": "optax has no sparse gradients",
}


def method(name: str) -> Method:
    """The table's row of a class name of torch.optim. Raises SpecError with the reason for none."""
    found = METHODS.get(name)
    if found is None:
        why = REFUSED.get(name, "it is not in the table")
        raise SpecError(f"convert: {name}: its state does not pass to optax ({why})")
    return found
