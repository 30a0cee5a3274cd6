"""The recipes of optimizers whose state has other points than the parameters: those of the steps
before, or of the iterates.

Source: torch 2.13, torch/optim/lbfgs.py; optax 0.2.8, optax/_src/alias.py and
optax/contrib/_schedule_free.py.
"""

from __future__ import annotations

from typing import Any

from bpx.convert._recipes import Options, Recipe, zero
from bpx.spec import require


def lbfgs(o: Options) -> Recipe:
    search = o.get("line_search_fn")
    require(
        search is None,
        f"convert: lbfgs: line_search_fn is {search!r}, expected None (optax searches otherwise, "
        "and would take other steps)",
    )
    size = o["history_size"]
    return Recipe("lbfgs", {"learning_rate": o["lr"], "memory_size": size, "linesearch": None})


def _free(name: str, o: Options) -> dict[str, Any]:
    require(
        bool(o["train_mode"]),
        f"convert: {name}: train_mode is False, expected True (call optimizer.train() first)",
    )
    zero(name, o, "r", "optax weighs no later iterate more")
    require(
        o["k"] >= o["warmup_steps"],
        f"convert: {name}: the run is at step {o['k']} of warmup_steps={o['warmup_steps']}, "
        "expected it behind them (optax's warm-up is a step late)",
    )
    return {"learning_rate": o["lr"], "weight_lr_power": o["weight_lr_power"]}


def schedule_free_sgd(o: Options) -> Recipe:
    more = {"b1": o["momentum"], "weight_decay": o["weight_decay"] or None}
    return Recipe("schedule_free_sgd", {**_free("schedule_free_sgd", o), **more})


def schedule_free_adamw(o: Options) -> Recipe:
    b1, b2 = o["betas"]
    more = {"b1": b1, "b2": b2, "eps": o["eps"], "weight_decay": o["weight_decay"]}
    return Recipe("schedule_free_adamw", {**_free("schedule_free_adamw", o), **more})
