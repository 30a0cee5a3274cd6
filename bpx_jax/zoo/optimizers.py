"""Bugs of gradient transformations: where epsilon stands, what a state begins with, weight decay,
scalars in another precision, a gradient that is exactly zero."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from bpx import optimizers
from bpx.verify.zoo import StepPlant

SPECS = {o.name: o for o in optimizers.ALL}
LR, EPS, B1, B2 = 0.01, 1e-3, 0.9, 0.99


def by(update: Any, first: float = 0.0) -> Any:
    """make() of a transformation by update(g, m, v, t, p) -> (step, m, v) of one array; `first` is
    what v begins with."""

    def make() -> Any:
        def init(params: Any) -> Any:
            zeros = [jnp.zeros_like(p) for p in params]
            return jnp.zeros((), jnp.int32), zeros, [z + first for z in zeros]

        def run(gs: Any, state: Any, params: Any) -> Any:
            t, ms, vs = state
            rows = zip(gs, ms, vs, params, strict=True)
            found = [update(g, m, v, t + 1, p) for g, m, v, p in rows]
            steps, ms, vs = map(list, zip(*found, strict=True))
            return steps, (t + 1, ms, vs)

        return SimpleNamespace(init=init, update=run)

    return make


def _adam(early: bool) -> Any:
    def update(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        c1, c2 = 1 - B1 ** t.astype(float), 1 - B2 ** t.astype(float)
        if early:
            return -LR * m / (jnp.sqrt(v) + EPS) * jnp.sqrt(c2) / c1, m, v
        return -LR * (m / c1) / (jnp.sqrt(v / c2) + EPS), m, v

    return update


def _rmsprop(inside: bool) -> Any:
    def update(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
        v = B2 * v + (1 - B2) * g * g
        return -LR * g / (jnp.sqrt(v + EPS) if inside else jnp.sqrt(v) + EPS), m, v

    return update


def _adagrad(early: bool) -> Any:
    def update(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
        decayed = g + 0.1 * p
        v = v + (decayed if early else g) ** 2
        return -LR * decayed / (jnp.sqrt(v) + EPS), m, v

    return update


def _radam(dtype: Any) -> Any:
    most = 2 / (1 - B2) - 1

    def update(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        c1, c2 = 1 - B1 ** t.astype(float), 1 - B2 ** t.astype(float)
        power = jnp.asarray(B2, dtype) ** t.astype(dtype)
        rho = (most - 2 * t.astype(dtype) * power / (1 - power)).astype(float)
        inside = jnp.where(rho > 5, (rho - 4) * (rho - 2) * most, 1.0)
        r = jnp.sqrt(inside / ((most - 4) * (most - 2) * rho))
        long = r * (m / c1) * jnp.sqrt(c2) / (jnp.sqrt(v) + EPS)
        return -LR * jnp.where(rho > 5, long, m / c1), m, v

    return update


def _normalised(guarded: bool) -> Any:
    def update(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
        norm = jnp.sqrt((g * g).sum())
        return -LR * (g / (jnp.where(norm > 0, norm, 1.0) if guarded else norm)), m, v

    return update


def normalised(g: Any, m: Any, v: Any, t: Any, p: Any) -> Any:
    """In other words: the same step."""
    squares = (g * g).sum()
    return -LR * g * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1.0)), m, v


_LR = {"lr": LR}
_TWO = ("ordinary", "exactly zero")  # each is a compilation
PLANTS = (
    StepPlant(97, "epsilon before the bias correction", ("trajectory",), by(_adam(False)),
              by(_adam(True)), SPECS["adam"], {**_LR, "betas": (B1, B2), "eps": EPS}, _TWO),
    StepPlant(98, "epsilon inside the root, a state that begins with 1", ("trajectory",),
              by(_rmsprop(False)), by(_rmsprop(True), 1.0), SPECS["rmsprop"],
              {**_LR, "alpha": B2, "eps": EPS}, _TWO),
    StepPlant(100, "weight decay left out of the accumulator", ("trajectory",), by(_adagrad(True)),
              by(_adagrad(False)), SPECS["adagrad"],
              {**_LR, "eps": EPS, "weight_decay": 0.1}, _TWO),
    StepPlant(103, "scalars of the schedule in single precision", ("trajectory",),
              by(_radam(float)), by(_radam(jnp.float32)), SPECS["radam"],
              {**_LR, "betas": (B1, B2), "eps": EPS}, _TWO),
    StepPlant(104, "0 / 0 where a gradient is exactly zero", ("trajectory",), by(_normalised(True)),
              by(_normalised(False)), by(normalised), {}, _TWO),
)  # fmt: skip
