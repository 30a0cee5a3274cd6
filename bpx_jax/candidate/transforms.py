"""vmap, eager calls, jax.checkpoint, scan, grad under jit: the compiled call and a loop are the
oracles. A transform that a rule refuses with an error is named as refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from bpx.verify.candidate.plan import Check, NotRun
from bpx.verify.candidate.point import Point
from bpx_jax.candidate.setting import Setting, close, quick_jit

Found = Iterator[dict[str, Any]]
BATCH = 3


def checks(trial: Any, quick: bool, full: bool) -> list[Check]:
    if quick:
        return []
    found = [
        Check("transform", "checkpoint", partial(checkpointed, trial)),
        Check("transform", "scan", partial(scanned, trial)),
        Check("neighbour", "between others", partial(neighbours, trial)),
    ]
    if trial.vmap:
        found += [
            Check("transform", f"vmap in_axes {name}", partial(vmapped, trial, name))
            for name in ("0", "1", "mixed")
        ]
    found.append(Check("transform", "forward mode", partial(forward_mode, trial)))
    if full:
        found.append(Check("transform", "eager and jit", partial(eager, trial)))
    return found


def _floats(s: Setting) -> list[Any]:
    return [s.arrays[i] for i in s.places]


def _grads(s: Setting, f: Any = None) -> Any:
    """Gradients of sum <dy, y> by jax.grad."""
    return jax.grad(lambda values: (f or s.loss)(*s.with_values(values)))


def eager(trial: Any) -> Found:
    """Without jit."""
    s = Setting(trial)
    want = s.compiled(s.arrays, s.dys)
    got = s.pull(s.arrays, s.dys)
    for i, (g, w) in enumerate(zip(got[0], want[0], strict=True)):
        yield close(g, w, f"output {i}")
    for i, g, w in zip(s.places, got[1], want[1], strict=True):
        yield close(g, w, f"gradient of argument {i}")


def checkpointed(trial: Any) -> Found:
    s = Setting(trial)
    got = quick_jit(_grads(s, jax.checkpoint(s.loss)))(_floats(s))
    want = s.compiled(s.arrays, s.dys)[1]
    for i, g, w in zip(s.places, got, want, strict=True):
        yield close(g, w, f"gradient of argument {i}")


def _batches(trial: Any) -> list[Setting]:
    sizes = trial.points.sizes(0)
    return [
        Setting(
            trial,
            point=Point(
                "transform", str(k), trial.points.arrays(sizes, f"batch {k}"), trial.points.first
            ),
        )
        for k in range(BATCH)
    ]


def scanned(trial: Any) -> Found:
    """The gradient inside lax.scan over a batch."""
    settings = _batches(trial)
    stacked = [np.stack(column) for column in zip(*(s.arrays for s in settings), strict=True)]
    dys = settings[0].dys

    def step(carry: Any, arrays: Any) -> Any:
        return carry, settings[0].pull(list(arrays), dys)[1]

    got = quick_jit(lambda xs: jax.lax.scan(step, 0, xs)[1])(tuple(stacked))
    for k, s in enumerate(settings):
        for i, g, w in zip(s.places, got, s.compiled(s.arrays, dys)[1], strict=True):
            yield close(g[k], w, f"gradient of argument {i} of step {k}")


def neighbours(trial: Any) -> Found:
    """Behind tanh and in front of a square, against the rule's own gradient there."""
    s = Setting(trial)
    args = trial.points.args
    places = [i for i in s.places if args[i].inside(np.array([0.05, 0.95]))]
    if not places:
        raise NotRun("no argument takes values between 0 and 1")

    def through(values: Any) -> list[Any]:
        return [
            jax.nn.sigmoid(v) if i in places else v for i, v in zip(s.places, values, strict=True)
        ]

    def loss(values: Any) -> Any:
        ys = s.values(s.f(*s.with_values(through(values))))
        return sum(
            (y * y).sum() + 3 * y.sum() for y, there in zip(ys, s.given, strict=True) if there
        )

    got = quick_jit(jax.grad(loss))(_floats(s))
    inside = s.with_values(quick_jit(through)(_floats(s)))
    ys = s.values(quick_jit(s.f)(*inside))
    dys = [2 * np.asarray(y) + 3 for y, there in zip(ys, s.given, strict=True) if there]
    want = s.compiled(inside, dys)[1]
    for i, g, w in zip(s.places, got, want, strict=True):
        slope = 1.0
        if i in places:
            y = np.asarray(inside[i])
            slope = y * (1 - y)
        yield close(g, np.asarray(w) * slope, f"gradient of argument {i}", 1e-11)


def vmapped(trial: Any, name: str) -> Found:
    """A batch of calls with the batch in different places, against a loop."""
    settings = _batches(trial)
    s, axes, stacked = settings[0], [], []
    columns = list(zip(*(t.arrays for t in settings), strict=True))
    for i, column in enumerate(columns):
        ndim = column[0].ndim + 1
        axis: int | None = {"0": 0, "1": min(1, ndim - 1), "mixed": i % 2 * (ndim - 1)}[name]
        if name == "mixed" and i == len(columns) - 1 and i:
            axis = None
        axes.append(axis)
        stacked.append(column[0] if axis is None else np.stack(column, axis))

    def one(*arrays: Any) -> Any:
        return s.pull(list(arrays), s.dys)

    try:
        ys, grads = quick_jit(jax.vmap(one, in_axes=tuple(axes)))(*stacked)
    except NotImplementedError as error:
        raise NotRun(f"vmap is refused: {str(error)[:120]}") from error
    for k in range(BATCH):
        arrays = [a if d is None else np.take(a, k, d) for a, d in zip(stacked, axes, strict=True)]
        want = s.compiled(arrays, s.dys)
        for i, (y, w) in enumerate(zip(ys, want[0], strict=True)):
            yield close(y[k], w, f"output {i} of call {k}")
        for i, g, w in zip(s.places, grads, want[1], strict=True):
            yield close(g[k], w, f"gradient of argument {i} of call {k}")


def forward_mode(trial: Any) -> Found:
    """Where jax.jvp works, <dy, jvp(v)> = <vjp(dy), v>."""
    s = Setting(trial)
    from bpx.verify.draw import Draw

    vs = [np.asarray(Draw(f"jvp {i}")(*s.arrays[i].shape)) for i in s.places]
    try:
        run = quick_jit(lambda x, v: jax.jvp(lambda *a: s.loss(*s.with_values(a)), x, v)[1])
        tangent = run(tuple(_floats(s)), tuple(vs))
    except TypeError as error:
        if "custom_vjp" in str(error) or "forward" in str(error):
            raise NotRun("forward mode is refused, as for every custom_vjp") from error
        raise
    grads = s.compiled(s.arrays, s.dys)[1]
    products = [np.asarray(g) * v for g, v in zip(grads, vs, strict=True)]
    size = sum(float(np.abs(p).sum()) for p in products)
    off = abs(float(tangent) - sum(float(p.sum()) for p in products))
    message = f"is off by {off:.3g} of {size:.3g}" if off > 1e-12 * size else ""
    yield {"what": "tangent", "message": message}
