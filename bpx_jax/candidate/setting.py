"""A rule at one point in JAX: arrays, outputs, gradients, and how two results are compared."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# a check runs a function a few times: compiling it is most of the cost
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,  # parts, each compiled by a compiler of its own
}


@cache
def known() -> dict[str, Any]:
    """Those of QUICK that this version of the compiler has."""
    found = {}
    for name, value in QUICK.items():
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            jax.jit(lambda: 0, compiler_options={name: value})()
            found[name] = value
    return found


def quick_jit(f: Any) -> Any:
    """jax.jit without the optimisers of the CPU compiler."""
    on_cpu = jax.default_backend() == "cpu"
    return jax.jit(f, compiler_options=known() if on_cpu else None)


class Setting:
    """The generic point `k` of a trial, or `point`."""

    def __init__(self, trial: Any, k: int = 0, dtype: str = "float64", point: Any = None) -> None:
        self.trial, self.host = trial, trial.host
        self.point = replace(point or trial.points.generic(k), dtype=dtype)
        self.places = tuple(i for i, a in enumerate(trial.asked) if a)
        self.arrays = [self.host.array(a, dtype) for a in self.point.arrays]
        self.ys = self.values(jax.eval_shape(self.f, *self.arrays))
        dys = trial.cotangents([_Like(y) for y in self.ys], dtype)
        self.given = tuple(d is not None for d in dys)
        self.dys = [self.host.array(d, dtype) for d in dys if d is not None]
        self.pull = self.pull_of(self.places)

    def f(self, *arrays: Any) -> Any:
        return self.trial.f(*arrays, **self.point.options)

    def pull_of(self, places: tuple[int, ...]) -> Any:
        """(arrays, dys) -> (outputs, gradients of the arguments at `places`)."""
        from bpx_jax.candidate.host import pulled

        return pulled(self.trial.f, self.point.options, places, self.given)

    def compiled(self, arrays: Any, dys: Any) -> Any:
        """`pull`, compiled once for all checks of the trial."""
        run = self.host.compiled_pull(
            self.trial.counted, self.point.options, self.places, self.given
        )
        return run(arrays, dys)

    def values(self, out: Any) -> list[Any]:
        return list(out) if isinstance(out, tuple | list) else [out]

    def with_values(self, values: Any) -> list[Any]:
        moved = list(self.arrays)
        for i, v in zip(self.places, values, strict=True):
            moved[i] = v
        return moved

    def loss(self, *arrays: Any) -> Any:
        """sum <dy, y>, whose gradient is the pulled-back dy."""
        ys = self.values(self.f(*arrays))
        floats = [y for y, there in zip(ys, self.given, strict=True) if there]
        return sum((y * d).sum() for y, d in zip(floats, self.dys, strict=True))


class _Like:
    """Shape and kind of dtype, as the drawing of incoming gradients wants them."""

    def __init__(self, y: Any) -> None:
        self.shape = y.shape
        self.dtype = np.dtype(float if jnp.issubdtype(y.dtype, jnp.floating) else int)


def close(got: Any, want: Any, what: str, limit: float = 1e-12) -> dict[str, Any]:
    """A comparison of two results of the same rule: equal up to the order of operations."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return {"what": what, "message": f"has shape {got.shape}, expected {want.shape}"}
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    if same.all():
        return {"what": what}
    scale = float(np.abs(np.nan_to_num(want, posinf=0.0)).max()) or 1e-300
    off = float(np.abs(got - want)[~same].max())
    ratio = off / (limit * scale) if off == off else float("inf")
    message = f"is off by {off:.3g} of {scale:.3g}" if not ratio <= 1 else ""
    return {"what": what, "ratio": ratio, "eps": off / scale / 2.0**-52, "message": message}
