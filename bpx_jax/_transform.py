"""What the optimizers share: transformations shaped as optax's, schedules, decay, leaf dtypes.

optax is not imported. The tuples below have the field names and the nesting of optax's, so a state
has optax's leaves in optax's order under optax's key paths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bpx.spec import Optimizer, SpecError
from bpx_jax import _move
from bpx_jax._packed import refuse

Schedule = Callable[[Any], Any]  # step count, from 0 -> value


class GradientTransformation(NamedTuple):
    """init(params) -> state; update(grads, state, params=None, **ignored) -> (updates, state)."""

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class EmptyState(NamedTuple):
    pass


class ScaleByScheduleState(NamedTuple):
    count: Any


class WeightDecaySchedule(NamedTuple):
    count: Any


class MaskedState(NamedTuple):
    inner_state: Any


class TraceState(NamedTuple):
    trace: Any


def moving(init: Callable[[Any], Any], step: Callable[..., Any]) -> GradientTransformation:
    """A transformation that can move parameters by itself. step(grads, state, params, *, moving)
    gives the updates, or where `moving` the parameters, and the state."""

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return step(grads, state, params, moving=False)

    update.move = partial(step, moving=True)  # type: ignore[attr-defined]
    return GradientTransformation(init, update)


def stepping(tx: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """step(grads, state, params) -> (params, state) of a transformation of bpx_jax.optim or optax:
    what `update` gives, added to the parameters.

    adam, adamw, adamax, adadelta, adagrad, lars, lion, rmsprop and sgd with momentum of
    bpx_jax.optim move float32 and float64 arrays of 16384 elements and more on a CPU in one call
    of the native core, in place where `jax.jit` is given them by donate_argnums: the states and
    the parameter are read and written once. The state is that of `update`.
    """
    move = getattr(tx.update, "move", None)
    if move is not None:
        return move

    def step(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return jax.tree.map(added, params, updates), state

    return step


def added(p: Any, update: Any) -> jax.Array:
    """p + update in the dtype of p, rounded once."""
    p, update = jnp.asarray(p), jnp.asarray(update)
    kind = jnp.float64 if jnp.float64 in (p.dtype, update.dtype) else jnp.float32
    return (p.astype(kind) + update.astype(kind)).astype(p.dtype)


def check(spec: Optimizer, **given: Any) -> None:
    """Check the options that are plain numbers; arrays (perhaps traced) and schedules pass."""
    if spec.check is not None:
        spec.check({**spec.options, **given})


def renamed(options: dict[str, Any]) -> dict[str, Any]:
    """An entry's options under optax's names."""
    names = {"lr": "learning_rate", "alpha": "decay"}
    return {names.get(k, k): v for k, v in options.items()}


def known(value: Any, stand_in: Any) -> Any:
    """The value, or a value that passes every check for one that cannot be read here."""
    return stand_in if callable(value) or isinstance(value, (jax.Array, np.ndarray)) else value


def zero() -> jax.Array:
    return jnp.zeros((), jnp.int32)


def advance(count: Any) -> jax.Array:
    """count + 1, staying at the largest int32."""
    return count + (count < jnp.iinfo(count.dtype).max).astype(count.dtype)


def rate_start(rate: Any) -> Any:
    return ScaleByScheduleState(zero()) if callable(rate) else EmptyState()


def rate_now(rate: Any, state: Any) -> tuple[Any, Any]:
    """The value of a number or schedule in this step, and the state of the next."""
    if not callable(rate):
        return rate, state
    return rate(state.count), type(state)(advance(state.count))


class Decay:
    """A decoupled weight decay: a number or schedule, and which leaves have it."""

    def __init__(self, entry: str, weight_decay: Any, mask: Any) -> None:
        self.entry, self.weight_decay, self.mask = entry, weight_decay, mask

    def start(self) -> Any:
        state = WeightDecaySchedule(zero()) if callable(self.weight_decay) else EmptyState()
        return state if self.mask is None else MaskedState(state)

    def now(self, state: Any, grads: Any, params: Any) -> tuple[Any, Any, Any]:
        """This step's decay, a tree of bools (which leaves), and the state of the next step."""
        if params is None:
            raise SpecError(
                f"{self.entry}: params is None, expected the parameters (the decay needs them)"
            )
        if self.mask is None:
            value, state = rate_now(self.weight_decay, state)
            return value, jax.tree.map(lambda _: True, grads), state
        refuse(self.entry, grads, "a mask says which arrays decay")
        mask = self.mask(grads) if callable(self.mask) else self.mask
        value, inner = rate_now(self.weight_decay, state.inner_state)
        which = jax.tree.map(lambda m, part: jax.tree.map(lambda _: bool(m), part), mask, grads)
        return value, which, MaskedState(inner)


def zeros(params: Any, dtype: Any = None) -> Any:
    return jax.tree.map(lambda p: jnp.zeros_like(p, dtype=dtype), params)


def full(params: Any, value: Any) -> Any:
    return jax.tree.map(lambda p: jnp.full_like(p, value), params)


def scalar(value: Any, dtype: Any) -> Any:
    """An option for arithmetic in `dtype`: a Python number keeps all its digits."""
    if isinstance(value, (int, float)):
        return float(value)
    return jnp.asarray(value).astype(dtype)


def log(rate: Any) -> Any:
    """log rate, of a Python number in double precision (1 - rate keeps its digits)."""
    if isinstance(rate, float):
        return math.log(rate) if rate > 0 else -math.inf
    return jnp.log(rate)


def unbiased(rate: Any, count: Any, dtype: Any) -> jax.Array:
    """1 - rate^count as -expm1(count log rate), which does not cancel for small counts."""
    return -jnp.expm1(count.astype(dtype) * log(rate))


def wide(entry: str, x: jax.Array) -> Any:
    """The dtype a leaf is computed in: at least float32, rounded once when it is stored."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise SpecError(f"{entry}: a gradient has dtype {x.dtype}, expected a real floating one")
    return jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def map_leaves(
    entry: str,
    rule: Callable[..., Any],
    grads: Any,
    states: tuple[Any, ...],
    *others: Any,
    move: tuple[Any, Callable[..., Any]] | None = None,
) -> tuple[Any, tuple[Any, ...]]:
    """Run rule(dtype, g, *state leaves, *other leaves) -> (update, state leaves...) on every leaf.

    Arrays reach the rule in `dtype`. The update leaves it in the gradient's dtype and each state in
    its own, so a state keeps its type over the steps. A tree that is None is passed on as None.

    move: (params, native) gives the parameters after the step in the place of updates. Where the
    core takes a leaf, native(with the rule's arguments) is its call, or None.
    """
    leaves, tree = jax.tree.flatten(grads)
    columns = [
        [None] * len(leaves) if x is None else tree.flatten_up_to(x) for x in (*states, *others)
    ]
    updates: list[Any] = []
    news: list[list[Any]] = [[] for _ in states]
    params = [None] * len(leaves) if move is None else tree.flatten_up_to(move[0])
    for g, p, *rest in zip(leaves, params, *columns, strict=True):
        g = jnp.asarray(g)
        dtype = wide(entry, g)
        given = [
            x if x is None or isinstance(x, bool) else jnp.asarray(x).astype(dtype) for x in rest
        ]
        found = None if move is None else _move.leaf(move[1], p, g, rest[: len(states)], given)
        update, *after = found or rule(dtype, g.astype(dtype), *given)
        if found is None:
            update = update.astype(g.dtype)
            update = update if move is None else added(p, update)
        updates.append(update)
        for column, new, old in zip(news, after, rest[: len(states)], strict=True):
            column.append(None if old is None else new.astype(old.dtype))
    trees = tuple(
        None if state is None else tree.unflatten(column)
        for state, column in zip(states, news, strict=True)
    )
    return tree.unflatten(updates), trees
