"""The shape language: "*N D" is any number of leading dims N and a last dim D.

Tokens are separated by spaces: a capitalised name binds one dim, "*Name" binds any number of dims
(at most one per pattern, anywhere in it), a number is that size, "" is a scalar. A name met twice
must have one size. The grammar is a subset of jaxtyping's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

Dims = dict[str, Any]  # name -> int, or tuple of ints for a starred name


@cache
def parse(pattern: str) -> tuple[tuple[str, ...], int | None]:
    """The tokens of a pattern without the star, and the place of the starred one (None without)."""
    tokens = tuple(pattern.split())
    starred = [i for i, token in enumerate(tokens) if token.startswith("*")]
    if len(starred) > 1:
        raise TypeError(f"dims {pattern!r} has {len(starred)} starred names, expected at most one")
    names = tuple(token.removeprefix("*") for token in tokens)
    for name in names:
        if not (name.isdigit() or (name.isidentifier() and name[0].isupper())):
            raise TypeError(f"dims {pattern!r}: {name!r} is no number and no capitalised name")
    return names, (starred[0] if starred else None)


def match(pattern: str, shape: tuple[int, ...], bound: Dims) -> str | None:
    """Bind the names of a pattern to a shape, into `bound`. Returns None, or what does not fit."""
    names, star = parse(pattern)
    fixed = len(names) - (star is not None)
    if len(shape) < fixed or (star is None and len(shape) != fixed):
        return f"expected ({pattern})"
    sizes: tuple[Any, ...] = tuple(shape)
    if star is not None:
        after = len(names) - star - 1
        end = len(shape) - after
        sizes = (*shape[:star], tuple(shape[star:end]), *shape[end:])
    for name, size in zip(names, sizes, strict=True):
        want = int(name) if name.isdigit() else bound.setdefault(name, size)
        if want != size:
            return f"but dim {name} is {want} (expected ({pattern}))"
    return None


def shape(pattern: str, bound: Dims) -> tuple[int, ...]:
    """The shape a pattern stands for once its names are bound."""
    names, star = parse(pattern)
    sizes: list[int] = []
    for i, name in enumerate(names):
        if i == star:
            sizes.extend(bound[name])
        else:
            sizes.append(int(name) if name.isdigit() else bound[name])
    return tuple(sizes)
