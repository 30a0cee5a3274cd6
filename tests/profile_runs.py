"""Runs of an optimizer of any library over the same parameters and gradients, in float64, with the
rate at its default or changing at every step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from bpx.optimizers import ALL
from tests import trajectories as tj
from tests.libraries import keras

SPECS = {spec.name: spec for spec in ALL}
STEPS = 12
RATES = [0.1 / (1 + 0.3 * t) for t in range(STEPS)]


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
    optimizer.ns_dtype = None  # of ours alone: Muon in float64
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
