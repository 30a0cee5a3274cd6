"""Random shapes, dtypes, options, batches and wishes through every kernel of JAX, beside the plain
rule.

    python -m tests.native_fuzz_jax [--calls 1000] [--seed 0] [--kernel cpu] [--names NAME ...]

Every call is compiled anew, with the kernel and without, and half of them are mapped over axes of
some of their arguments. Kernels of Pallas are interpreted, on small arrays.
"""

from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import bpx_jax
from bpx import rule
from bpx.spec import SpecError
from bpx_jax.kernels.cpu import _ffi
from tests import fuzz_draw

DTYPES = ("float32", "float64", "bfloat16")
BATCHES = (1, 2, 3, 5)


def several(chosen, rng, kernel="cpu"):
    """(calls that ran, "ran" or why not): one. Raises AssertionError."""
    drawn = fuzz_draw.draw(chosen.spec, rng, fuzz_draw.ELEMENTS[kernel])
    if drawn is None:
        return 0, "does not fit"
    numbers, options = drawn
    dtype = DTYPES[rng.integers(len(DTYPES))]
    args = chosen.spec.args
    arrays = [typed(arg, a, dtype) for arg, a in zip(args, numbers(), strict=True)]
    axes = None
    if rng.random() < 0.5:
        axes, arrays = batched(arrays, args, [numbers, dtype], rng)
    outcome = one(chosen, arrays, axes, options, dtype, rng, kernel)
    return int(outcome == "ran"), outcome


def typed(arg, a, dtype):
    return a if a is None else jnp.asarray(a, dtype if arg.kind == "float" else a.dtype)


def batched(arrays, args, again, rng):
    """(the axis along which each is mapped, or None; the arrays): at least one is mapped."""
    numbers, dtype = again
    size = int(BATCHES[rng.integers(len(BATCHES))])
    drawn = [numbers() for _ in range(size)]
    there = [i for i, a in enumerate(arrays) if a is not None]
    mapped = {i for i in there if rng.random() < 0.5} or {there[rng.integers(len(there))]}
    axes, found = [], []
    for i, a in enumerate(arrays):
        axes.append(int(rng.integers(a.ndim + 1)) if i in mapped else None)
        if i in mapped:
            a = jnp.stack([typed(args[i], d[i], dtype) for d in drawn], axes[-1])
        found.append(a)
    return axes, found


def program(chosen, options, wanted, axes):
    """(arrays, of those that are asked for, dy) -> (y, gradients), mapped where there are axes."""

    def call(arrays, dy):
        def f(*some):
            some = iter(some)
            given = [next(some) if w else a for w, a in zip(wanted, arrays, strict=True)]
            return chosen(*given, **options)

        y, pull = jax.vjp(f, *(a for w, a in zip(wanted, arrays, strict=True) if w))
        return y, pull(dy)

    if axes is None:
        return jax.jit(call)
    return jax.jit(jax.vmap(call, (axes, 0)))


def using(kernel):
    return nullcontext() if kernel is None else rule.use(kernel, interpret=kernel == "pallas")


def one(chosen, arrays, axes, options, dtype, rng, kernel):
    """One forward and backward, by this kernel, beside the plain one."""
    floats = [
        arg.kind == "float" and a is not None
        for arg, a in zip(chosen.spec.args, arrays, strict=True)
    ]
    wanted = [w and rng.random() < 0.8 for w in floats]
    y = partial(chosen, **options)
    if axes is not None:
        y = jax.vmap(y, axes)
    try:
        with rule.use("plain"):
            shape = jax.eval_shape(y, *arrays)
        dy = jnp.asarray(rng.standard_normal(shape.shape), shape.dtype)
        with using(kernel):
            got = program(chosen, options, wanted, axes)(arrays, dy)
    except SpecError as error:
        return "refuses" if f"{kernel}:" in str(error) else "does not fit"
    with rule.use("plain"):
        want = program(chosen, options, wanted, axes)(arrays, dy)
    terms, steep = fuzz_draw.spreads(chosen.spec, options, list(map(doubled, arrays)))
    near(chosen.spec, "y", got[0], want[0], dtype, terms)
    for mine, plain in zip(got[1], want[1], strict=True):
        near(chosen.spec, "gradient", mine, plain, dtype, steep)
    return "ran"


def doubled(a):
    return a if a is None else np.asarray(a, np.float64)


def near(spec, what, got, want, dtype, scale):
    assert got.dtype == want.dtype
    fuzz_draw.near(spec, what, doubled(got), doubled(want), dtype, scale)


def fuzz(calls, seed, names=(), kernel="cpu"):
    """Counter of (entry, outcome); the first difference raises."""
    rules = {
        name: chosen
        for name, chosen in bpx_jax.RULES.items()
        if any(k.name == kernel for k in chosen.kernels) and (not names or name in names)
    }
    with jax.enable_x64(True):
        return fuzz_draw.fuzz(rules, partial(several, kernel=kernel), calls, seed)


if __name__ == "__main__":
    fuzz_draw.main(__doc__, fuzz, 1000, {"cpu": _ffi.available, "pallas": None})
