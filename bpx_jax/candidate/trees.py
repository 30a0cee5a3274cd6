"""What a backward hands to JAX: shapes and dtypes of cotangents, which JAX takes as they come; and
runs that must be equal, outputs that are not used, subsets of arguments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx.verify.candidate.plan import Check, NotRun
from bpx_jax.candidate.setting import Setting, close, quick_jit

Found = Iterator[dict[str, Any]]


def checks(trial: Any, quick: bool) -> list[Check]:
    found = [
        Check("return", f"{dtype} cotangents", partial(raw, trial, dtype))
        for dtype in ("float64", "float32")
    ]
    found.append(Check("repeat", "whole calls", partial(again, trial)))
    found.append(Check("forward", "primal and fwd", partial(primal, trial)))
    if not quick:
        found += [
            Check("subset", f"argnums {','.join(map(str, some))}", partial(subset, trial, some))
            for some in sets(trial)
        ]
        found.append(Check("unused", "outputs", partial(unused, trial)))
    return found


def raw(trial: Any, dtype: str) -> Found:
    """Shape and dtype of every cotangent, before anything casts it. Nothing is computed."""
    s = Setting(trial, dtype=dtype)
    _, grads = jax.eval_shape(s.pull, s.arrays, s.dys)
    for i, g in zip(s.places, grads, strict=True):
        a, problem = s.arrays[i], ""
        if g.shape != a.shape:
            problem = f"has shape {g.shape}, expected {a.shape}"
        elif g.dtype != a.dtype:
            problem = f"has dtype {g.dtype}, expected {a.dtype} (JAX does not look)"
        yield {"what": f"cotangent of argument {i}", "message": problem}


def again(trial: Any) -> Found:
    """Two runs of the compiled call."""
    s = Setting(trial)
    (_, first), (_, second) = s.compiled(s.arrays, s.dys), s.compiled(s.arrays, s.dys)
    for i, a, b in zip(s.places, first, second, strict=True):
        if trial.nondeterministic:
            yield close(b, a, f"gradient of argument {i}")
        else:
            same = np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
            message = "" if same else "differs from run to run"
            yield {"what": f"gradient of argument {i}", "message": message}


def primal(trial: Any) -> Found:
    """The value without a derivative and the value of the forward pass."""
    s = Setting(trial)
    ys, _ = s.compiled(s.arrays, s.dys)
    for i, (y, w) in enumerate(zip(ys, s.values(quick_jit(s.f)(*s.arrays)), strict=True)):
        yield close(y, w, f"output {i}")


def sets(trial: Any) -> list[tuple[int, ...]]:
    """Each argument alone, and each with the next one: every set is a compilation."""
    places = [i for i, a in enumerate(trial.asked) if a]
    if len(places) < 2:
        return []
    pairs = list(itertools.pairwise(places)) if len(places) > 2 else []
    return [*((i,) for i in places), *pairs]


def subset(trial: Any, chosen: tuple[int, ...]) -> Found:
    """Gradients of some arguments, against the same when all ask."""
    s = Setting(trial)
    full = dict(zip(s.places, s.compiled(s.arrays, s.dys)[1], strict=True))
    grads = quick_jit(s.pull_of(chosen))(s.arrays, s.dys)[1]
    for i, g in zip(chosen, grads, strict=True):
        yield close(g, full[i], f"gradient of argument {i} when {chosen} ask")


def unused(trial: Any) -> Found:
    """Each output alone used by what follows."""
    s = Setting(trial)
    floats = [i for i, y in enumerate(s.ys) if jnp.issubdtype(y.dtype, jnp.floating)]
    if len(floats) < 2:
        raise NotRun("there is one output")
    for used in floats:

        def loss(values: Any, used: int = used) -> Any:
            moved = s.with_values(values)
            return (s.values(s.f(*moved))[used] * s.dys[floats.index(used)]).sum()

        got = quick_jit(jax.grad(loss))([s.arrays[i] for i in s.places])
        dys = [d if k == floats.index(used) else np.zeros_like(d) for k, d in enumerate(s.dys)]
        want = s.compiled(s.arrays, dys)[1]
        for i, g, w in zip(s.places, got, want, strict=True):
            yield close(g, w, f"gradient of argument {i} when output {used} alone is used")
