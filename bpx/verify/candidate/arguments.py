"""What a rule takes: floats with a gradient, indices, masks, and the dims they share.

    Float(3, "n")                             three rows of any length n
    Float("*N D")                             any leading dims, a last one
    Float()                                   a scalar
    Index("N", below="V", ignore=-100)        N indices in 0 <= i < V, or -100

A number is a size, a name is any size (one size wherever it is met), a starred name any number of
dims. The dims may be given one by one or as one string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpx.spec import SpecError, require
from bpx.verify.draw import Draw

Dim = int | str
Sizes = dict[str, Any]  # name -> int, or tuple of ints for a starred name


class _Argument:
    """The dims of an argument, and the shape they stand for."""

    def __init__(self, *dims: Dim) -> None:
        parts: list[Dim] = []
        for dim in dims:
            parts.extend(dim.split() if isinstance(dim, str) else [dim])
        kind = type(self).__name__
        for dim in parts:
            name = str(dim).removeprefix("*")
            ok = name.isdigit() or (name.isidentifier() and isinstance(dim, str))
            require(ok and not isinstance(dim, bool), f"{kind}: a dim is {dim!r}, {EXPECTED}")
        stars = sum(str(d).startswith("*") for d in parts)
        require(stars < 2, f"{kind}: {stars} dims have a star, expected at most one")
        self.dims: tuple[Dim, ...] = tuple(
            int(d) if isinstance(d, str) and d.isdigit() else d for d in parts
        )

    def names(self) -> list[str]:
        return [d for d in self.dims if isinstance(d, str)]

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        found: list[int] = []
        for dim in self.dims:
            if isinstance(dim, int):
                found.append(dim)
            elif dim.startswith("*"):
                found.extend(sizes[dim])
            else:
                found.append(sizes[dim])
        return tuple(found)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.dims))})"


EXPECTED = "expected a size or a name, perhaps with a star in front"


class Float(_Argument):
    """A floating argument, with a gradient.

    low, high   the closed interval its values lie in; without them they are standard normal
    at          values at which the function is special: kinks, ends of a branch
    infinite    -inf is a value too (an additive mask)
    grad        False: its gradient is not asked for (an attribute that the rule only reads)
    """

    def __init__(
        self,
        *dims: Dim,
        low: float | None = None,
        high: float | None = None,
        at: Sequence[float] = (),
        infinite: bool = False,
        grad: bool = True,
    ) -> None:
        super().__init__(*dims)
        require(
            low is None or high is None or low < high,
            f"Float: low is {low} and high is {high}, expected low < high",
        )
        self.low, self.high, self.at = low, high, tuple(at)
        self.infinite, self.grad = infinite, grad

    def draw(self, draw: Draw, shape: tuple[int, ...]) -> Any:
        low, high = self.low, self.high
        if low is None and high is None:
            return draw(*shape)
        if low is not None and high is not None:
            return low + (high - low) * draw.uniform(*shape)
        # one end: at some distance from it, over a decade
        away = 0.1 + abs(draw(*shape))
        return low + away if low is not None else high - away

    def inside(self, values: Any) -> bool:
        """Whether every value lies in the interval."""
        if self.low is not None and (values < self.low).any():
            return False
        return not (self.high is not None and (values > self.high).any())


class Index(_Argument):
    """An integer argument in 0 <= i < below, or equal to `ignore`.

    below   a number or the name of a dim; without it the last dim of the first Float
    """

    def __init__(self, *dims: Dim, below: Dim | None = None, ignore: int | None = None) -> None:
        super().__init__(*dims)
        self.below, self.ignore = below, ignore

    def limit(self, args: Sequence[Any], sizes: Sizes) -> int:
        below = self.below
        if below is None:
            first = next((a for a in args if isinstance(a, Float) and a.dims), None)
            if first is None:
                raise SpecError("Index: below is None, expected a number or the name of a dim")
            below = first.dims[-1]
        return below if isinstance(below, int) else int(sizes[below])


class Mask(_Argument):
    """A boolean argument, True where something takes part."""


class Integers(_Argument):
    """Integers in 0 <= i < below of one dtype that carry no position: random bits, the words of a
    key."""

    def __init__(self, *dims: Dim, below: int, dtype: str) -> None:
        super().__init__(*dims)
        self.below, self.dtype = below, dtype


Argument = Float | Index | Mask | Integers


def read(text: str) -> list[Argument]:
    """Arguments from a command line: "Float(3,'n'); Float('n')"."""
    import ast

    kinds = {"Float": Float, "Index": Index, "Mask": Mask}
    found: list[Argument] = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        try:
            call = ast.parse(part, mode="eval").body
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                raise ValueError
            kind = kinds[call.func.id]
            given = [ast.literal_eval(a) for a in call.args]
            named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
            found.append(kind(*given, **named))
        except SpecError:
            raise
        except (SyntaxError, ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"verify: an argument is {part!r}, expected Float(...), Index(...) or Mask(...)"
            ) from error
    require(bool(found), f"verify: the arguments are {text!r}, expected Float(3,'n'); ...")
    return found
