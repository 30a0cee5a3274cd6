"""Sizes that fill a GPU, and the bytes that a pair of passes over them must move.

They are no rows of the entries: a CPU would need minutes for one, and only entries with a kernel
for the GPU have any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bpx import _inputs
from bpx import dims as dim
from bpx.bench_rows import Row
from bpx.spec import Arg, Op

LABEL = "huge"
ELEMENTS = 2**28


@dataclass(frozen=True)
class Huge:
    """The huge rows of an entry.

    absent     optional arguments that take no part, though the rows have their dims
    constant   floating arguments that no gradient is asked for
    unread     kept arguments that backward does not read then
    twice      whether a mean is of more than a program holds: forward reads x twice, and
               backward dy and x
    products   whether matrix products take the time, so that bytes say nothing
    wide       how many of the rows are timed above 16 bits, None for all
    limit      the ratio that `--gate` allows
    """

    rows: tuple[Row, ...]
    absent: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    twice: bool = False
    products: bool = False
    wide: int | None = None
    limit: float = 1.05

    def of(self, dtype: str) -> tuple[Row, ...]:
        """The rows that are timed in this dtype."""
        return self.rows if dtype.endswith("16") else self.rows[: self.wide]


_ROWS = Huge(({"N": (65_536, 4096)},))
_FEATURES = Huge(({"N": 65_536, "D": 4096},))
_IMAGES: Row = {"B": 64, "C": 1024, "S": (64, 64)}
_VECTORS: Row = {"B": ELEMENTS // 2048, "C": 2048, "S": ()}

HUGE: Mapping[str, Huge] = {
    "softmax": _ROWS,
    "log_softmax": _ROWS,
    "layer_norm": _FEATURES,
    "rms_norm": _FEATURES,
    "group_norm": Huge((_IMAGES,), twice=True),
    "instance_norm": Huge(({"B": 64, "C": 64, "S": (256, 256)},), twice=True),
    "batch_norm": Huge(
        tuple({**row, "training": True} for row in (_IMAGES, _VECTORS)),
        absent=("running_mean", "running_var"),
        twice=True,
    ),
    "cross_entropy": Huge(({"N": 8192, "V": 128_256},)),
    # a model's tables take no gradient, which is all that backward reads x for
    "rope": Huge(
        ({"N": (8, 32), "T": 4096, "D": 128, "P": 64},), constant=("cos", "sin"), unread=("x",)
    ),
    "dropout": Huge(({"N": ELEMENTS, "B": ELEMENTS // 8},)),
    "gated_linear": Huge(
        ({"N": 16_384, "I": 11_008, "O": 4096},),
        absent=("bias",),
        products=True,
    ),
    "linear_cross_entropy": Huge(
        tuple({"N": n, "D": 4096, "V": 128_256} for n in (4096, 16_384, 32_768)),
        absent=("bias", "class_weight"),
        products=True,
        wide=1,
        limit=1.0,
    ),
    "attention": Huge(
        tuple(
            {"B": 4, "H": h, "K": k, "T": 4096, "S": 4096, "D": d, "E": d, "causal": causal}
            for h, k, d, causal in ((32, 32, 128, True), (32, 8, 128, False), (32, 32, 64, True))
        ),
        absent=("bias", "mask", "dropout_key"),
        products=True,
        wide=1,
    ),
}
_ELEMENTS = Huge(({"N": ELEMENTS},))

# optimizers, and the arrays of state that a step of theirs with default options reads and writes
STEPS: Mapping[str, int] = {"adamw": 2, "sgd": 0}
STEP_LIMIT = 1.05


def stepped(name: str, n: int, item: int) -> int:
    """Bytes that a step over n parameters of `item` bytes must move: the parameter read and
    written, the gradient read, each state, of four bytes at least, read and written."""
    return n * (3 * item + 2 * STEPS[name] * max(item, 4))


def huge(spec: Op) -> Huge | None:
    """The huge rows of an entry, None where it has none."""
    found = HUGE.get(spec.name)
    if found is None and spec.path.startswith("activations/"):
        found = _ELEMENTS
    return found


def given(spec: Op, row: Row, about: Huge) -> tuple[bool, ...]:
    """Which arguments take part."""
    there = _inputs.given(spec, row)
    return tuple(
        here and a.name not in about.absent for a, here in zip(spec.args, there, strict=True)
    )


def wanted(spec: Op, about: Huge) -> tuple[bool, ...]:
    """Which arguments a gradient is asked for."""
    asked = _inputs.wanted(spec)
    return tuple(w and a.name not in about.constant for a, w in zip(spec.args, asked, strict=True))


def moved(spec: Op, row: Row, about: Huge, item: int) -> int:
    """Bytes that forward and backward must move, for floats of `item` bytes: forward reads the
    arguments and writes y and the residuals, backward reads dy and what is kept and writes the
    gradients, each once."""
    sizes, options = _inputs.sizes(spec, row), _inputs.options(spec, row)
    here = given(spec, row, about)
    shapes = [dim.shape(a.dims, sizes) if g else None for a, g in zip(spec.args, here, strict=True)]
    met = spec.bind(tuple(shapes), options)
    y = math.prod(dim.shape(spec.out_dims(options), met)) * item
    total = y + y  # forward writes it, backward reads as much of dy
    total += 3 * y if about.twice else 0
    for a, shape, asked in zip(spec.args, shapes, wanted(spec, about), strict=True):
        if shape is None:
            continue
        size = math.prod(shape) * _width(a, item)
        total += size
        if a.name in set(spec.saves) - {*spec.shapes, *about.unread}:
            total += size
        if asked:
            total += size
    for name, dims in spec.residuals.items():
        if name == "y":
            total += y
        else:
            width = 1 if name in spec.constant else max(item, 4)
            total += 2 * width * math.prod(dim.shape(dims, met))
    return total


def _width(arg: Arg, item: int) -> int:
    return item if arg.kind == "float" else {"index": 8, "key": 4}.get(arg.kind, 1)
