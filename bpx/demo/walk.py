"""python -m bpx walk: the eight-parameter toy model, forward and backward, number by number.

    f(x) = b3 + w3 cos(b2 + w2 exp(b1 + w1 sin(b0 + w0 x))),    loss = (f(x) - y)^2

Every value by hand, from the entries of the specification in NumPy, beside PyTorch's, JAX's and a
finite difference. A limit is measured: the walk is repeated with every number changed by a random
relative error with standard deviation DELTA; FACTOR times the largest change of a value over DELTA
is what a few roundings to eps in every step may do to it. A finite difference is allowed what that
of the loss does to it, and its truncation: what halving its step changed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import bpx
from bpx._command import CommandError, needs
from bpx.demo.settings import FRAMEWORKS

# name of the quantity, entry, names of its inputs
CHAIN = (
    ("f0", "affine", ("x", "w0", "b0")),
    ("h1", "sin", ("f0",)),
    ("f1", "affine", ("h1", "w1", "b1")),
    ("h2", "exp", ("f1",)),
    ("f2", "affine", ("h2", "w2", "b2")),
    ("h3", "cos", ("f2",)),
    ("f3", "affine", ("h3", "w3", "b3")),
    ("loss", "mse", ("f3", "y")),
)
FORMULA = {
    "f0": "b0 + w0 x", "h1": "sin(f0)", "f1": "b1 + w1 h1", "h2": "exp(f1)", "f2": "b2 + w2 h2",
    "h3": "cos(f2)", "f3": "b3 + w3 h3", "loss": "(f3 - y)^2",
    "df3": "2 (f3 - y)", "dh3": "w3 df3", "df2": "-sin(f2) dh3", "dh2": "w2 df2",
    "df1": "h2 dh2", "dh1": "w1 df1", "df0": "cos(f0) dh1",
}  # fmt: skip
PASS_1 = tuple(f"d{name}" for name, *_ in CHAIN[-2::-1])
PASS_2 = tuple(f"d{p}{k}" for k in range(4) for p in "bw")
FORMULA |= {f"db{k}": f"df{k}" for k in range(4)}
FORMULA |= {f"dw{k}": f"{f'h{k}' if k else 'x'} df{k}" for k in range(4)}
TABLES = (
    ("forward", tuple(name for name, *_ in CHAIN)),
    ("backward, pass 1: from the last quantity to the first", PASS_1),
    ("backward, pass 2: the parameters", PASS_2),
)
DELTA, RUNS, FACTOR = 2.0**-40, 16, 8.0
ANGLE = 2.0**30  # beyond it DELTA is no small change of an angle
EPS = float(np.finfo(np.float64).eps)

Values = dict[str, float]
Nudge = Callable[[Any], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # argparse takes -1e-3 for an option unless told that it is a number
    parser._negative_number_matcher = re.compile(r"-\.?\d|-inf|-nan")
    parser.add_argument("--x", default="2.3", help="input, default 2.3")
    parser.add_argument("--y", default="2.0", help="target, default 2.0")
    default = ["1.0", "2.0", "-3.0", "0.4"]
    parser.add_argument("--beta", nargs="+", default=default, metavar="B", help="b0 b1 b2 b3")
    default = ["0.1", "-0.4", "2.0", "3.0"]
    parser.add_argument("--omega", nargs="+", default=default, metavar="W", help="w0 w1 w2 w3")


def run(args: argparse.Namespace) -> int:
    """Returns 0, 1 where two values are further apart than their limit, 2 for a mistake."""
    try:
        values = read(args)
        needs("rich", "demo")
        mine = by_hand(values)
        for name, value in mine.items():
            if not math.isfinite(value):
                raise CommandError(f"{name} is {value}: these numbers leave the range of float64")
            if name in ("f0", "f1", "f2") and abs(value) > ANGLE:
                raise CommandError(f"{name} is {value:g}, expected at most {ANGLE:g} in size")
        limits = rounding(values, mine)
        columns = {name: (limits, found) for name, found in frameworks(values)}
        columns["finite difference"] = differences(values, mine, limits["loss"])
        show(mine, columns)
        for name, (allowed, found) in columns.items():
            print(f"{name}: largest disagreement {worst(mine, allowed, found):.2g} of its limit")
        wrong = disagreeing(mine, columns)
        for sentence in wrong:
            print(f"bpx walk: {sentence}", file=sys.stderr)
        return 1 if wrong else 0
    except CommandError as error:
        print(f"bpx walk: {error}", file=sys.stderr)
        return 2


def read(args: argparse.Namespace) -> Values:
    values = {"x": number("--x", args.x), "y": number("--y", args.y)}
    for option, letter in (("beta", "b"), ("omega", "w")):
        given = getattr(args, option)
        if len(given) != 4:
            raise CommandError(f"--{option} has {len(given)} numbers, expected 4")
        values |= {f"{letter}{k}": number(f"--{option}", text) for k, text in enumerate(given)}
    return values


def number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CommandError(f"{option} has {text!r}, expected a finite number")
    return value


def forward(values: Values, given: Values | None = None, nudge: Nudge = float) -> Values:
    """The quantities of the chain; one in `given` has that value instead of its own."""
    ops = {op.name: op for op in bpx.ALL}
    found = dict(values)
    for name, entry, inputs in CHAIN:
        arrays = [np.array(nudge(found[i])) for i in inputs]
        with np.errstate(all="ignore"):  # a value out of range is said by name
            y = ops[entry].forward(*arrays, **ops[entry].options)[0]
        found[name] = float(y) if given is None or name not in given else given[name]
    return found


def by_hand(values: Values, nudge: Nudge = float) -> Values:
    """Quantities and gradients from the entries' halves: the chain, then the chain backwards."""
    ops = {op.name: op for op in bpx.ALL}
    found = forward(values, nudge=nudge)
    gradients = {"loss": 1.0}
    for name, entry, inputs in reversed(CHAIN):
        arrays = [np.array(nudge(found[i])) for i in inputs]
        dy = np.array(nudge(gradients[name]))
        with np.errstate(all="ignore"):
            back = ops[entry].backward(dy, *arrays, **ops[entry].options)
        gradients |= {i: float(g) for i, g in zip(inputs, back, strict=True)}
    return {name: found[name] for name, *_ in CHAIN} | {
        name: gradients[name[1:]] for name in (*PASS_1, *PASS_2)
    }


def rounding(values: Values, mine: Values) -> Values:
    """The limit of every value."""
    draw = np.random.default_rng(0)

    def nudge(a: Any) -> Any:
        return float(a) * (1 + DELTA * draw.standard_normal())

    runs = [by_hand(values, nudge) for _ in range(RUNS)]
    return {k: FACTOR * EPS * max(abs(r[k] - v) for r in runs) / DELTA for k, v in mine.items()}


def frameworks(values: Values) -> list[tuple[str, Values]]:
    """What each framework's rules give; one that is missing is said."""
    found = []
    for name in FRAMEWORKS:
        try:
            needs(name, name)
        except CommandError as error:
            print(f"bpx walk: {error}", file=sys.stderr)
        else:
            found.append((name, importlib.import_module(f"bpx_{name}.demo").walk(CHAIN, values)))
    return found


def differences(values: Values, mine: Values, loss_limit: float) -> tuple[Values, Values]:
    """Limits and values of the gradients by finite differences, each at its best step."""
    limits, found = {}, {}
    every = {**values, **mine}
    for name in (*PASS_1, *PASS_2):

        def loss(at: float, name: str = name[1:]) -> float:
            return forward({**values, name: at}, {name: at})["loss"]

        found[name], limits[name] = slope(loss, every[name[1:]], loss_limit)
    return limits, found


def slope(f: Callable[[float], float], v: float, f_limit: float) -> tuple[float, float]:
    """f'(v) by five points, order h^4, at the halved step with the smallest error; and that error:
    what f's own does to the quotient, and the larger change of the last two halvings."""
    steps = [max(1.0, abs(v)) * 2.0**-k for k in range(6, 40)]
    at = functools.cache(f)
    slopes = [
        (8 * (at(v + h) - at(v - h)) - (at(v + 2 * h) - at(v - 2 * h))) / (12 * h) for h in steps
    ]
    errors = [
        2 * f_limit / steps[k]
        + max(abs(slopes[k] - slopes[k - 1]), abs(slopes[k - 1] - slopes[k - 2]))
        for k in range(2, len(steps))
    ]
    best = int(np.nanargmin(errors))
    return slopes[best + 2], errors[best]


def disagreeing(mine: Values, columns: dict[str, tuple[Values, Values]]) -> list[str]:
    return [
        f"{name} is {mine[name]!r} by hand but {found[name]!r} by {column}: more than "
        f"{limits[name]:.1e} apart"
        for column, (limits, found) in columns.items()
        for name in mine
        if name in found and not abs(found[name] - mine[name]) <= limits[name]
    ]


def worst(mine: Values, allowed: Values, found: Values) -> float:
    """The largest difference over its limit; 0 / 0 is 0."""
    gaps = [(abs(found[k] - mine[k]), allowed[k]) for k in found if k in mine]
    return max(0.0 if gap == 0 else gap / limit if limit else math.inf for gap, limit in gaps)


def show(mine: Values, columns: dict[str, tuple[Values, Values]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    for title, names in TABLES:
        table = Table(title=title, title_justify="left")
        table.add_column("")
        table.add_column("formula")
        present = [c for c, (_, found) in columns.items() if names[0] in found]
        for heading in ("by hand", *present):
            table.add_column(heading, justify="right")
        for name in names:
            label = f"dl/d{name[1:]}" if name not in columns and name[0] == "d" else name
            cells = (f"{columns[c][1][name]:.12g}" for c in present)
            table.add_row(label, FORMULA[name], f"{mine[name]:.12g}", *cells)
        console.print(table)
