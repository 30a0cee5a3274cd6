"""A function on JAX arrays for the kit: NumPy arrays in, NumPy arrays out.

Every call is compiled once for each function, shape and dtype: eager calls would compile every
operation by itself. float64 needs `jax_enable_x64`, which is turned on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx_jax.candidate import transforms, trees
from bpx_jax.candidate.setting import quick_jit

DTYPES = {
    "float64": jnp.float64,
    "float32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
}


def to_numpy(x: Any) -> Any:
    if x is None:
        return None
    # on the host: a cast by JAX would be a compilation for every shape
    return np.array(x, dtype=np.float64 if jnp.issubdtype(x.dtype, jnp.floating) else None)


def listed(out: Any) -> list[Any]:
    """The outputs of a function: one array, or a tuple or list of them."""
    outs = list(out) if isinstance(out, tuple | list) else [out]
    for o in outs:
        if not isinstance(o, jax.Array | jax.ShapeDtypeStruct):
            raise AssertionError(f"returns {type(o).__name__}, expected arrays")
    return outs


class JaxHost:
    name = "jax"
    few = True

    def __init__(self) -> None:
        jax.config.update("jax_enable_x64", True)
        self._compiled: dict[Any, Any] = {}

    def forget(self) -> None:
        """Drop what was compiled for functions that are done with."""
        self._compiled.clear()
        jax.clear_caches()

    def array(self, a: Any, dtype: str) -> Any:
        a = np.asarray(a)
        return jax.device_put(a.astype(DTYPES[dtype]) if a.dtype.kind == "f" else a)

    def rounded(self, array, dtype):
        return np.asarray(array).astype(DTYPES[dtype]).astype(np.float64)

    def _jit(self, kind: str, f: Any, options: Any, extra: Any, make: Any) -> Any:
        key = (kind, id(f), repr(sorted(options.items())), extra)
        if key not in self._compiled:
            # f is kept, so that its id stays its own
            self._compiled[key] = (f, quick_jit(make()))
        return self._compiled[key][1]

    def compiled_pull(self, f, options, places, given):
        """(arrays, dys) -> (outputs, gradients), as `pulled`; every check has the same one."""
        return self._jit(
            "pull", f, options, (places, given), lambda: pulled(f, options, places, given)
        )

    def call(self, f, arrays, options, dtype):
        run = self._jit("call", f, options, (), lambda: partial(f, **options))
        out = run(*(self.array(a, dtype) for a in arrays))
        if isinstance(out, tuple | list) and any(o is None for o in out):
            return [None if o is None else to_numpy(o) for o in out]
        return [to_numpy(o) for o in listed(out)]

    def like(self, f, arrays, options):
        given = [jax.ShapeDtypeStruct(np.shape(a), self.array(a, "float64").dtype) for a in arrays]
        return [
            np.zeros(y.shape, float if jnp.issubdtype(y.dtype, jnp.floating) else int)
            for y in listed(jax.eval_shape(partial(f, **options), *given))
        ]

    def pull(self, f, arrays, options, dys, dtype, asked):
        if isinstance(f, Scaled):
            ys, grads = self.pull(f.f, arrays, options, dys, dtype, asked)
            return ys, [None if g is None else g * f.factor for g in grads]
        places = tuple(i for i, a in enumerate(asked) if a)
        given = tuple(d is not None for d in dys)
        run = self.compiled_pull(f, options, places, given)
        # an incoming gradient has the dtype of its output, which may differ from the inputs'
        ys, grads = run(
            [self.array(a, dtype) for a in arrays],
            [self.array(d, dtype) for d in dys if d is not None],
        )
        if hasattr(f, "calls"):
            f.calls += 1  # a compiled call does not pass through the counter
        found = dict(zip(places, grads, strict=True))
        return [to_numpy(y) for y in ys], [to_numpy(found.get(i)) for i in range(len(arrays))]

    def twice(self, f, arrays, options, dys, vs, asked):
        places = tuple(i for i, a in enumerate(asked) if a)
        given = tuple(d is not None for d in dys)
        pull = pulled(f, options, places, given)
        full = [self.array(a, "float64") for a in arrays]
        cotangents = [self.array(d, "float64") for d in dys if d is not None]
        along = [self.array(vs[i], "float64") for i in places]

        def loss(values: Any) -> Any:
            moved = list(full)
            for i, v in zip(places, values, strict=True):
                moved[i] = v
            grads = pull(moved, cotangents)[1]
            return sum((v * g).sum() for v, g in zip(along, grads, strict=True))

        second = quick_jit(jax.grad(loss))([full[i] for i in places])
        found = dict(zip(places, second, strict=True))
        return [[to_numpy(found.get(i)) for i in range(len(arrays))]]

    def scaled(self, f, factor):
        return Scaled(f, factor)

    def callable_of(self, rule: Any) -> Any:
        return rule

    def name_of(self, rule: Any) -> str:
        return str(getattr(rule, "__name__", None) or type(rule).__name__)

    def checks(self, trial: Any, quick: bool, full: bool) -> list[Any]:
        return [*trees.checks(trial, quick), *transforms.checks(trial, quick, full)]


@dataclass(frozen=True)
class Scaled:
    """A function whose gradients are times a factor; what is compiled is the function's own."""

    f: Any
    factor: float


def pulled(f: Any, options: Any, places: tuple[int, ...], given: tuple[bool, ...]) -> Any:
    """(arrays, dys) -> (outputs, gradients of the arguments at `places`)."""

    def run(arrays: Any, dys: Any) -> Any:
        def of_places(*values: Any) -> Any:
            full = list(arrays)
            for i, v in zip(places, values, strict=True):
                full[i] = v
            return tuple(listed(f(*full, **options)))

        ys, vjp = jax.vjp(of_places, *(arrays[i] for i in places))
        if len(ys) != len(given):
            raise AssertionError(f"returns {len(ys)} outputs, expected {len(given)}")
        cotangents, rest = [], iter(dys)
        for y, there in zip(ys, given, strict=True):
            d = next(rest) if there else None
            if not jnp.issubdtype(y.dtype, jnp.floating):
                cotangents.append(np.zeros(y.shape, jax.dtypes.float0))
            elif d is None:
                cotangents.append(jnp.zeros_like(y))
            else:
                if d.shape != y.shape:
                    raise AssertionError(f"output has shape {y.shape}, expected {d.shape}")
                cotangents.append(d.astype(y.dtype))
        return ys, vjp(tuple(cotangents))

    return run


HOST = JaxHost()
