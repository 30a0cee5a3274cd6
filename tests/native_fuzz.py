"""Random shapes, strides, dtypes and options through every native kernel, beside the plain rule.

    python -m tests.native_fuzz [--calls 100000] [--seed 0] [--kernel cpu] [--names NAME ...]

The options come from the cases of an entry, the sizes are drawn anew; a call that the entry refuses
is drawn again. Run under a sanitizer (`make sanitize`) it finds what reads or writes out of bounds.
Kernels of Triton are interpreted, on small arrays.
"""

import argparse
import sys
from collections import Counter
from contextlib import nullcontext

import numpy as np
import torch

import bpx_torch
from bpx import dims as dim
from bpx import native, rule
from bpx._inputs import _array
from bpx.spec import SpecError
from bpx.verify.draw import Draw
from bpx_torch._dtype import at_least_float32
from tests import fuzz_layouts

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100)
LARGE = (255, 257, 1023, 1025, 8191, 8193, 20_000)
ELEMENTS = {"cpu": 60_000, "triton": 1500}  # of one array
DRAWS = 30  # of an entry, until one fits and runs
AGAIN = 5  # calls of one shape: the third is recorded, the others follow it
ROUGHLY = {torch.float32: 2.0**-11, torch.float64: 2.0**-40, torch.bfloat16: 2.0**-3}

# Sizes that follow from others; without these hardly a draw would fit.
FOLLOW = {
    "lstm": lambda b, o: {"G": 4 * b["H"]},
    "gru": lambda b, o: {"G": 3 * b["H"]},
    "rope": lambda b, o: {"P": b["D"] // 2 if b["D"] > 1 else b["P"]},
    "reversible": lambda b, o: {"W": 2 * b["D"]},
    "ctc_loss": lambda b, o: {"Frames": b["T"] + 1, "Labels": b["S"] + 1},
    "embedding_bag": lambda b, o: {"B": o["num_bags"]},
    "dropout": lambda b, o: {"B": -(-int(np.prod(b["N"])) // 8)},
    "attention": lambda b, o: _attention(b),
    "conv": lambda b, o: _convolution(b, o),
    "conv_feedback_alignment": lambda b, o: _convolution(b, o),
    "conv_sign_symmetric": lambda b, o: _convolution(b, o),
    "conv_transpose": lambda b, o: (
        _window(b) | {"C": (1 + b["C"] % 40) * o["groups"], "O": b["K"] * o["groups"]}
    ),
}

# What y is a difference of, where that may be much larger: it is off by their roundings.
DIFFERENCE_OF = {
    "triplet_margin": lambda arrays: 2 * max(a.double().norm(dim=-1).max().item() for a in arrays)
}


def _window(bound):
    """A kernel that fits into most arrays."""
    return {"W": tuple(1 + n % 4 for n in bound["W"])}


def _convolution(bound, options):
    groups = options["groups"]
    return _window(bound) | {"C": bound["K"] * groups, "O": bound["O"] % 40 * groups}


def _attention(bound):
    """Query heads a multiple of the key heads; a bias and a mask over all of the scores."""
    whole = {**{k: bound[k] for k in "BTS"}, "H": bound["K"] * (1 + bound["H"] % 3), "W": 2}
    return whole | {k: whole[k[0]] for k in bound if k[1:] in ("1", "2")}


def draw(spec, rng, largest=ELEMENTS["cpu"]):
    """(what draws arrays in float64, options) of a call that the entry takes, or None."""
    cases = [c for c in spec.cases(Draw(spec.name)) if all(np.size(a) for a in c.arrays.values())]
    case = cases[rng.integers(len(cases))]
    options = spec.complete(case.options)
    bound = {}
    there = [case.arrays.get(arg.name) is not None for arg in spec.args]
    for arg, given in zip(spec.args, there, strict=True):
        if given:
            dim.match(arg.dims, np.shape(case.arrays[arg.name]), bound)
    for name, size in bound.items():
        if rng.random() < 0.3:
            continue
        if isinstance(size, tuple):
            bound[name] = tuple(size_(rng) if rng.random() < 0.7 else n for n in size)
        else:
            bound[name] = size_(rng)
    if spec.name in FOLLOW:
        bound |= FOLLOW[spec.name](bound, options)
    shapes = [
        dim.shape(a.dims, bound) if g else None for a, g in zip(spec.args, there, strict=True)
    ]
    if any(s is not None and np.prod(s) > largest for s in shapes):
        return None

    def arrays():
        numbers = Draw(spec.name, int(rng.integers(2**31)))
        found = [
            _array(arg, {**bound, arg.below: bound.get(arg.below, 2)}, numbers) if g else None
            for arg, g in zip(spec.args, there, strict=True)
        ]
        for i, arg in enumerate(spec.args):
            if arg.name.startswith("w_"):  # of a recurrence, chaotic with larger ones
                found[i] = 0.5 * found[i] / np.sqrt(found[i].shape[-1])
            if arg.dims == "V" and arg.name.endswith("weight") and found[i] is not None:
                found[i] = abs(found[i]) + 0.1  # of classes: a mean divides by their sum
        return found

    try:
        spec.bind(tuple(shapes), options)
        arrays()
    except (SpecError, TypeError, KeyError, ValueError):
        return None
    return arrays, options


def size_(rng):
    return int(rng.choice(LARGE)) if rng.random() < 0.04 else int(rng.choice(SIZES))


def several(chosen, rng, kernel="cpu"):
    """(calls that ran, "ran" or why not) of one shape: a call that comes again is another's way
    (bpx_torch/_fast.py), in a node of its own. Raises AssertionError."""
    drawn = draw(chosen.spec, rng, ELEMENTS[kernel])
    if drawn is None:
        return 0, "does not fit"
    numbers, options = drawn
    dtype = list(ROUGHLY)[rng.integers(len(ROUGHLY))]
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
    name = chosen.spec.name
    terms = DIFFERENCE_OF[name](beside) if name in DIFFERENCE_OF else 1.0
    near(chosen.spec, "y", y, want, dtype, terms)
    wrt, beside = ([a for a in b if a is not None and a.requires_grad] for b in (arrays, beside))
    if not wrt or not y.requires_grad:
        return "ran"
    # what cancels: rows of one number divided by sqrt(eps), like logits, directions of short rows
    steep = options["eps"] ** -0.5 if name.endswith("_norm") and options.get("eps") else 1.0
    short = [a.detach().norm(dim=-1).min() for a in arrays[:2]] if "cosine" in name else [1.0]
    steep /= options.get("temperature", 1.0) * max(1e-6, float(min(short)))
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


def near(spec, what, got, want, dtype, scale=1.0):
    """Alike within what rounding does to sums of a thousand terms: the kit has the exact bounds."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    got, want = at_least_float32(got).double(), at_least_float32(want).double()
    finite = want.isfinite()
    assert torch.equal(finite, got.isfinite()), f"{spec.name}: {what} is finite elsewhere"
    scale = max(1.0, scale, want[finite].abs().max().item() if finite.any() else 0.0)
    error = (got - want)[finite].abs().max().item() if finite.any() else 0.0
    assert error <= ROUGHLY[dtype] * scale, f"{spec.name}: {what} is {error:.3g} off {scale:.3g}"


def fuzz(calls, seed, names=(), kernel="cpu"):
    """Counter of (entry, outcome); the first difference raises."""
    rules = {
        name: chosen
        for name, chosen in bpx_torch.RULES.items()
        if any(k.name == kernel for k in chosen.kernels) and (not names or name in names)
    }
    counts, ran, turn = Counter(), 0, 0
    while ran < calls and rules and turn <= 50 * calls + 10_000:
        name = list(rules)[turn % len(rules)]
        for again in range(DRAWS):
            rng = np.random.default_rng([seed, turn, again])
            try:
                done, outcome = several(rules[name], rng, kernel)
            except AssertionError as e:
                raise AssertionError(f"{name} --seed {seed} turn {turn} {again}: {e}") from e
            counts[name, "ran"] += done
            counts[name, outcome] += outcome != "ran"
            ran += done
            if done:
                break
        turn += 1
    assert ran >= calls, f"{ran} of {calls} calls ran: {dict(counts)}"
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernel", choices=ELEMENTS, default="cpu")
    parser.add_argument("--names", nargs="*", default=())
    args = parser.parse_args()
    if args.kernel == "cpu" and (reason := native.available()) is not None:
        sys.exit(reason)
    counts = fuzz(args.calls, args.seed, args.names, args.kernel)
    for outcome in ("ran", "refuses", "does not fit"):
        print(f"{outcome}: {sum(n for (_, o), n in counts.items() if o == outcome)}")
    for name in sorted({name for name, _ in counts}):
        print(f"  {name}: {counts[name, 'ran']}")


if __name__ == "__main__":
    main()
