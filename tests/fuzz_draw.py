"""What the fuzzers of the native kernels share: the calls they draw, and how near two results are.

The options come from the cases of an entry, the sizes are drawn anew.
"""

import argparse
import sys
from collections import Counter
from contextlib import nullcontext

import numpy as np

from bpx import dims as dim
from bpx import native
from bpx._inputs import _array
from bpx.spec import SpecError
from bpx.verify.draw import Draw
from tests.native_streaming import streamed

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100)
LARGE = (255, 257, 1023, 1025, 8191, 8193, 20_000)
ELEMENTS = {"cpu": 60_000, "triton": 1500, "pallas": 1500}  # of one array
DRAWS = 30  # of an entry, until one fits and runs
ROUGHLY = {"float32": 2.0**-11, "float64": 2.0**-40, "bfloat16": 2.0**-3}

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


def spreads(spec, options, arrays):
    """(of y, of the gradients): how much larger than the results are the numbers that they are
    differences of, whose roundings they have; `arrays` in float64."""
    terms, steep = 1.0, options.get("temperature", 1.0) ** -1
    if spec.name == "triplet_margin":
        terms = 2 * max(np.linalg.norm(a, axis=-1).max() for a in arrays)
    if spec.name.endswith("_norm") and options.get("eps"):  # rows of one number by sqrt(eps)
        steep *= options["eps"] ** -0.5
    if "cosine" in spec.name:  # directions of short rows
        steep /= max(1e-6, min(np.linalg.norm(a, axis=-1).min() for a in arrays[:2]))
    return terms, steep


def near(spec, what, got, want, dtype, scale=1.0):
    """Alike within what rounding does to sums of a thousand terms: the kit has the exact bounds.
    `got` and `want` in float64."""
    assert got.shape == want.shape
    finite = np.isfinite(want)
    assert np.array_equal(finite, np.isfinite(got)), f"{spec.name}: {what} is finite elsewhere"
    scale = max(1.0, scale, abs(want[finite]).max(initial=0.0))
    error = abs(got[finite] - want[finite]).max(initial=0.0)
    assert error <= ROUGHLY[dtype] * scale, f"{spec.name}: {what} is {error:.3g} off {scale:.3g}"


def fuzz(rules, several, calls, seed):
    """Counter of (entry, outcome); the first difference raises. `several(rule, rng)` -> (calls that
    ran, "ran" or why no more did)."""
    counts, ran, turn = Counter(), 0, 0
    while ran < calls and rules and turn <= 50 * calls + 10_000:
        name = list(rules)[turn % len(rules)]
        for again in range(DRAWS):
            rng = np.random.default_rng([seed, turn, again])
            try:
                with past_caches(rng):
                    done, outcome = several(rules[name], rng)
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


def past_caches(rng):
    """Results of every size written past the caches, or as the core chooses."""
    return nullcontext() if native.available() else streamed(int(rng.integers(2)))


def main(about, fuzz, calls, kernels):
    """A fuzzer's command; `kernels` says of each why it cannot run, or None where nothing would."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--calls", type=int, default=calls)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernel", choices=kernels, default="cpu")
    parser.add_argument("--names", nargs="*", default=())
    args = parser.parse_args()
    refusal = kernels[args.kernel]
    if refusal is not None and (reason := refusal()) is not None:
        sys.exit(reason)
    counts = fuzz(args.calls, args.seed, args.names, args.kernel)
    for outcome in ("ran", "refuses", "does not fit"):
        print(f"{outcome}: {sum(n for (_, o), n in counts.items() if o == outcome)}")
    for name in sorted({name for name, _ in counts}):
        print(f"  {name}: {counts[name, 'ran']}")
