"""The optimizers whose state passes between torch.optim and optax, and why others' does not.

    torch.optim    state                                 optax, field of its tuple
    SGD            momentum_buffer                       TraceState.trace
    Adagrad        sum                                   ScaleByRssState.sum_of_squares
    RMSprop        square_avg, grad_avg                  ScaleByRms..., ScaleByRStdDev...: nu, mu
                   momentum_buffer                       TraceState.trace = -lr * momentum_buffer
    Adam, AdamW    exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
                   max_exp_avg_sq                        ScaleByAmsgradState.nu_max
    Adadelta       square_avg, acc_delta                 ScaleByAdaDeltaState.e_g, e_x
    Adamax         exp_avg, exp_inf                      ScaleByAdamState.mu, nu
    RAdam          exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
    NAdam          exp_avg, exp_avg_sq                   ScaleByNadamState.mu, nu of bpx_jax
    Rprop          step_size, prev                       ScaleByRpropState.step_sizes, prev_updates
    Lion           exp_avg                               ScaleByLionState.mu
    LAMB           exp_avg, exp_avg_sq                   ScaleByAdamState.mu, nu
    LARS           momentum_buffer                       TraceState.trace
    Adafactor      row_var, col_var, variance            FactoredState.v_row, v_col, v
                   exp_avg (of profile "optax")          EmaState.ema
    Muon           momentum_buffer                       MuonState.mu
    LBFGS          old_stps, old_dirs                    ScaleByLBFGSState.diff_params_memory,
                                                         diff_updates_memory
                   prev_flat_grad, d t                   updates, params
    SGDScheduleFree, AdamWScheduleFree of bpx_torch.optim:
                   z, exp_avg_sq                         ScheduleFreeState.z, ScaleByRms....nu

Source: torch 2.13, torch/optim; optax 0.2.8, optax/_src/alias.py and transform.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bpx.convert import _recipes, _recipes_points
from bpx.convert._recipes import Options, Recipe
from bpx.spec import SpecError

__all__ = ["METHODS", "REFUSED", "Method", "Options", "Recipe", "method"]


@dataclass(frozen=True)
class Method:
    """One optimizer.

    slots       torch's key -> (optax's tuples, field)
    recipe      options -> the optax optimizer; raises SpecError where optax has no setting for them
    counts      options -> whether torch's state has a "step"
    scaled      key -> what optax's array is of torch's, from the options
    by_array    steps depend on the norm of a whole array, or on which axes are a matrix, so that an
                array which is cut in another layout does not pass
    numbers     torch's single numbers, which follow from options and step count
    count       options -> the step count of a method whose groups count
    fields      optax's single numbers that follow from options and step count
    learned     the options that the groups count in -> (optax's field, its value -> the option)
    ours        options -> whether only bpx_jax's tuples mean the same
    memory      the state has pairs of differences (bpx/convert/_memory.py)
    factored    row_var and col_var are not of a parameter's shape (bpx/convert/_factored.py)
    """

    slots: Mapping[str, tuple[tuple[str, ...], str]]
    recipe: Callable[[Options], Recipe]
    counts: Callable[[Options], bool] = lambda options: True
    scaled: Mapping[str, Callable[[Options], float]] = field(default_factory=dict)
    by_array: bool = False
    numbers: Mapping[str, Callable[[Options, int], float]] = field(default_factory=dict)
    ours: Callable[[Options], bool] = lambda options: False
    factored: bool = False
    memory: bool = False
    count: Callable[[Options], int | None] = lambda options: None
    fields: Mapping[str, Callable[[Options, int], float]] = field(default_factory=dict)
    learned: Mapping[str, tuple[str, Callable[[float], float]]] = field(default_factory=dict)


def _never(o: Options) -> bool:
    return False


_ADAM, _MAXIMUM = ("ScaleByAdamState",), ("ScaleByAmsgradState",)
_RMS = ("ScaleByRmsState", "ScaleByRmsWithCountState")
_DEVIATION = ("ScaleByRStdDevState", "ScaleByRStdDevWithCountState")
_MOMENTS = {"exp_avg": (_ADAM, "mu"), "exp_avg_sq": (_ADAM, "nu")}
_WITH_MAXIMUM = {
    "exp_avg": ((*_ADAM, *_MAXIMUM), "mu"),
    "exp_avg_sq": ((*_ADAM, *_MAXIMUM), "nu"),
    "max_exp_avg_sq": (_MAXIMUM, "nu_max"),
}


def _raw_maximum(o: Options) -> bool:
    """optax's maximum is of the corrected moment, bpx_jax's of either."""
    return bool(o.get("amsgrad")) and not o.get("max_corrected")


def _torchs_factors(o: Options) -> bool:
    """optax's means are of g^2 + eps, and along the longest axes."""
    return not (o.get("eps_in_square") and o.get("largest_axes"))


_NADAM = ("ScaleByNadamState",)
_RPROP = ("ScaleByRpropState",)
_FACTORED = ("FactoredState",)
_LBFGS = ("ScaleByLBFGSState",)
_FREE: dict[str, Any] = {
    "counts": _never,
    "count": lambda options: int(options["k"]),
    "fields": {
        "weight_sum": lambda options, count: options["weight_sum"],
        "max_lr": lambda options, count: max(options["lr_max"], 0.0),
        "step_count": lambda options, count: count + 1,
    },
    "learned": {
        "k": ("step_count", lambda value: int(value) - 1),
        "weight_sum": ("weight_sum", float),
        "lr_max": ("max_lr", float),
    },
}
_Z = {"z": (("ScheduleFreeState",), "z")}
METHODS: dict[str, Method] = {
    "SGD": Method(
        {"momentum_buffer": (("TraceState",), "trace")},
        _recipes.sgd,
        counts=_never,
        scaled={"momentum_buffer": lambda options: 1 / _recipes.undamped(options)},
    ),
    "Adagrad": Method({"sum": (("ScaleByRssState",), "sum_of_squares")}, _recipes.adagrad),
    "RMSprop": Method(
        {
            "square_avg": ((*_RMS, *_DEVIATION), "nu"),
            "grad_avg": (_DEVIATION, "mu"),
            "momentum_buffer": (("TraceState",), "trace"),
        },
        _recipes.rmsprop,
        scaled={"momentum_buffer": _recipes.velocity_scale},
    ),
    "Adam": Method(_WITH_MAXIMUM, _recipes.adam, ours=_raw_maximum),
    "AdamW": Method(_WITH_MAXIMUM, _recipes.adamw, ours=_raw_maximum),
    "NAdam": Method(
        {"exp_avg": (_NADAM, "mu"), "exp_avg_sq": (_NADAM, "nu")},
        _recipes.nadam,
        numbers={"mu_product": _recipes.mu_product},
    ),
    "Rprop": Method(
        {"step_size": (_RPROP, "step_sizes"), "prev": (_RPROP, "prev_updates")},
        _recipes.rprop,
        ours=lambda options: True,  # optax takes each step one call later
    ),
    "Adadelta": Method(
        {
            "square_avg": (("ScaleByAdaDeltaState",), "e_g"),
            "acc_delta": (("ScaleByAdaDeltaState",), "e_x"),
        },
        _recipes.adadelta,
    ),
    "Adamax": Method({"exp_avg": (_ADAM, "mu"), "exp_inf": (_ADAM, "nu")}, _recipes.adamax),
    "RAdam": Method(_MOMENTS, _recipes.radam),
    "Lion": Method({"exp_avg": (("ScaleByLionState",), "mu")}, _recipes.lion, counts=_never),
    "LAMB": Method(_MOMENTS, _recipes.lamb, by_array=True),
    "LARS": Method(
        {"momentum_buffer": (("TraceState",), "trace")}, _recipes.lars, counts=_never, by_array=True
    ),
    "Adafactor": Method(
        {
            "row_var": (_FACTORED, "v_row"),
            "col_var": (_FACTORED, "v_col"),
            "variance": (_FACTORED, "v"),
            "exp_avg": (("EmaState",), "ema"),
        },
        _recipes.adafactor,
        by_array=True,
        ours=_torchs_factors,
        factored=True,
    ),
    "Muon": Method(
        {"momentum_buffer": (("MuonState",), "mu")},
        _recipes.muon,
        counts=lambda options: bool(options.get("bias_correction")),
        by_array=True,
    ),
    "LBFGS": Method(
        {
            "prev_params": (_LBFGS, "params"),
            "prev_flat_grad": (_LBFGS, "updates"),
            "old_stps": (_LBFGS, "diff_params_memory"),
            "old_dirs": (_LBFGS, "diff_updates_memory"),
        },
        _recipes_points.lbfgs,
        memory=True,
    ),
    "SGDScheduleFree": Method(_Z, _recipes_points.schedule_free_sgd, **_FREE),
    "AdamWScheduleFree": Method(
        {**_Z, "exp_avg_sq": (_RMS, "nu")}, _recipes_points.schedule_free_adamw, **_FREE
    ),
}
# the others: why their state does not pass
REFUSED: dict[str, str] = {
    "ASGD": "optax has none",
    "SparseAdam": "optax has no sparse gradients",
}


def method(name: str) -> Method:
    """The table's row of a class name of torch.optim. Raises SpecError with the reason for none."""
    found = METHODS.get(name)
    if found is None:
        why = REFUSED.get(name, "it is not in the table")
        raise SpecError(f"convert: {name}: its state does not pass to optax ({why})")
    return found
