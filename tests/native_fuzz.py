"""Random shapes, strides, dtypes and options through every native kernel, beside the plain rule.

    python -m tests.native_fuzz [--calls 100000] [--seed 0] [--kernel cpu] [--names NAME ...]

A call that the entry refuses is drawn again. Run under a sanitizer (`make sanitize`) it finds what
reads or writes out of bounds. Kernels of Triton are interpreted, on small arrays.
"""

from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

import bpx_torch
from bpx import native, rule
from bpx.spec import SpecError
from bpx_torch._dtype import at_least_float32
from tests import fuzz_draw, fuzz_layouts

AGAIN = 5  # calls of one shape: the third is recorded, the others follow it
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def several(chosen, rng, kernel="cpu"):
    """(calls that ran, "ran" or why not) of one shape: a call that comes again is another's way
    (bpx_torch/_fast.py), in a node of its own. Raises AssertionError."""
    drawn = fuzz_draw.draw(chosen.spec, rng, fuzz_draw.ELEMENTS[kernel])
    if drawn is None:
        return 0, "does not fit"
    numbers, options = drawn
    dtype = DTYPES[rng.integers(len(DTYPES))]
    ways = [None] * len(chosen.spec.args)
    for i in range(AGAIN):
        arrays = []
        for at, (arg, a) in enumerate(zip(chosen.spec.args, numbers(), strict=True)):
            if a is not None:
                a = torch.from_numpy(np.array(a))
                a = a.to(dtype) if arg.kind == "float" else a
                if arg.kind != "key":  # torch adds no uint32
                    values = arg.kind == "float"
                    if ways[at] is None or rng.random() < 0.15:
                        ways[at] = fuzz_layouts.drawn(a, rng, values)
                    a = ways[at](a, rng)
                if arg.kind == "float" and rng.random() < 0.8:
                    a.requires_grad_()
            arrays.append(a)
        asked = kernel if kernel != "cpu" or i % 2 == 0 else None  # found by itself otherwise
        outcome = one(chosen, arrays, options, dtype, rng, asked)
        if outcome != "ran":
            return i, outcome
    return AGAIN, "ran"


def using(kernel):
    return nullcontext() if kernel is None else rule.use(kernel, interpret=kernel == "triton")


def one(chosen, arrays, options, dtype, rng, kernel):
    """One forward and backward, by this kernel or by what is found, beside the plain one on arrays
    in order."""
    beside = [fuzz_layouts.packed(a) for a in arrays]
    try:
        with using(kernel):
            y = chosen(*arrays, **options)
    except SpecError as error:
        return "refuses" if f"{kernel}:" in str(error) else "does not fit"
    try:
        with rule.use("plain"):
            want = chosen(*beside, **options)
    except SpecError:  # avg_pool over three axes, where torch's own has a limit
        return "does not fit"
    terms, steep = fuzz_draw.spreads(
        chosen.spec, options, [a if a is None else doubled(a) for a in beside]
    )
    near(chosen.spec, "y", y, want, dtype, terms)
    wrt, beside = ([a for a in b if a is not None and a.requires_grad] for b in (arrays, beside))
    if not wrt or not y.requires_grad:
        return "ran"
    dy = torch.from_numpy(np.array(rng.standard_normal(tuple(y.shape)))).to(y.dtype)
    dy = fuzz_layouts.drawn(dy, rng)(dy, rng)
    with using(kernel):
        grads = torch.autograd.grad(y, wrt, dy, allow_unused=True)
    wanted = torch.autograd.grad(want, beside, fuzz_layouts.packed(dy), allow_unused=True)
    for got, expected in zip(grads, wanted, strict=True):
        assert (got is None) == (expected is None), chosen.spec.name
        if got is not None:
            near(chosen.spec, "gradient", got, expected, dtype, steep)
    return "ran"


def doubled(a):
    return at_least_float32(a).double().numpy(force=True)  # or without memory


def near(spec, what, got, want, dtype, scale):
    assert got.dtype == want.dtype
    fuzz_draw.near(
        spec, what, doubled(got), doubled(want), str(dtype).removeprefix("torch."), scale
    )


def fuzz(calls, seed, names=(), kernel="cpu"):
    """Counter of (entry, outcome); the first difference raises."""
    rules = {
        name: chosen
        for name, chosen in bpx_torch.RULES.items()
        if any(k.name == kernel for k in chosen.kernels) and (not names or name in names)
    }
    return fuzz_draw.fuzz(rules, partial(several, kernel=kernel), calls, seed)


if __name__ == "__main__":
    fuzz_draw.main(__doc__, fuzz, 100_000, {"cpu": native.available, "triton": None})
