"""What a rule is compared with, the best that was given.

A  a specification: NumPy functions, or an entry of bpx; forward and gradient both written out
B  a reference function in the rule's own framework, in float64, differentiated by the framework
C  the rule's own forward, by differences of sixth order: cannot see a rule whose forward and
   backward are wrong together
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bpx.spec import Op, SpecError

Arrays = Sequence[Any]
Options = Mapping[str, Any]

WIDER = "long double"
EXACT = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps  # not so on every platform

# 6th-order central differences: f(x + kh) - f(x - kh) for k = 1, 2, 3 (Fornberg 1988, table 1)
WEIGHTS = (3 / 4, -3 / 20, 1 / 60)
STEP = 2.0**-9
DIFFERENCED = 1e-8  # relative to the largest gradient; STEP**6 and 2**-53 / STEP are below it


class Specification:
    """Level A. `forward(*arrays, **options)` and `backward(dy, *arrays, **options)` in NumPy."""

    level = "A: a specification in NumPy"

    def __init__(self, spec: Any) -> None:
        self._entry: Op | None = None
        if isinstance(spec, Op):
            self._forward, self._backward, self._entry = spec.forward, spec.backward, spec
        elif isinstance(spec, tuple) and len(spec) == 2 and all(map(callable, spec)):
            self._forward, self._backward = spec
        elif hasattr(spec, "forward") and hasattr(spec, "backward"):
            self._forward, self._backward = spec.forward, spec.backward
        else:
            raise SpecError(
                f"verify_rule: spec is {spec!r}, expected (forward, backward), an object with "
                "both, or an entry of bpx"
            )

    def _options(self, options: Options) -> dict[str, Any]:
        return self._entry.complete(dict(options)) if self._entry else dict(options)

    def _padded(self, arrays: list[Any]) -> list[Any]:
        """With None for the optional arguments of an entry that a rule was not given."""
        return arrays + [None] * (len(self._entry.args) - len(arrays)) if self._entry else arrays

    def value(self, arrays: Arrays, options: Options, dtype: str = "float64") -> list[Any]:
        with np.errstate(all="ignore"):
            y = self._forward(*self._padded(_cast(arrays, dtype)), **self._options(options))
        return _listed(y[0] if self._entry else y)

    def like(self, arrays: Arrays, options: Options) -> list[Any]:
        """The outputs, or arrays of their shapes and kinds where that is cheaper."""
        return self.value(arrays, options)

    def both(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> tuple[list[Any], list[Any]]:
        return self.value(arrays, options, dtype), self.vjp(arrays, dys, options, dtype)

    def vjp(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> list[Any]:
        found = self._every(arrays, dys, options, dtype)
        return found[: len(arrays)] if self._entry else found

    def _every(self, arrays: Arrays, dys: Arrays, options: Options, dtype: str) -> list[Any]:
        dy = dys[0] if len(dys) == 1 else tuple(dys)
        with np.errstate(all="ignore"):
            grads = self._backward(
                *_cast([dy], dtype),
                *self._padded(_cast(arrays, dtype)),
                **self._options(options),
            )
        return list(grads) if isinstance(grads, tuple | list) else [grads]


class Function:
    """Level B. The same mathematics in plain operations of the framework."""

    level = "B: a reference function in float64, differentiated by the framework"

    def __init__(self, host: Any, f: Callable[..., Any], asked: Sequence[bool]) -> None:
        self.host, self.f, self.asked = host, f, asked

    def value(self, arrays: Arrays, options: Options, dtype: str = "float64") -> list[Any]:
        return list(self.host.call(self.f, arrays, options, dtype))

    def like(self, arrays: Arrays, options: Options) -> list[Any]:
        return list(self.host.like(self.f, arrays, options))

    def both(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> tuple[list[Any], list[Any]]:
        ys, grads = self.host.pull(self.f, arrays, options, dys, dtype, self.asked)
        return list(ys), list(grads)

    def vjp(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> list[Any]:
        return self.both(arrays, dys, options, dtype)[1]


class Differences(Function):
    """Level C. Every element of every argument moved by itself."""

    level = "C: differences of the rule's own forward; cannot see a rule wrong both ways"

    def value(self, arrays: Arrays, options: Options, dtype: str = "float64") -> list[Any]:
        return list(self.host.call(self.f, arrays, options, "float64"))

    def both(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> tuple[list[Any], list[Any]]:
        return self.value(arrays, options), self.vjp(arrays, dys, options)

    def vjp(
        self, arrays: Arrays, dys: Arrays, options: Options, dtype: str = "float64"
    ) -> list[Any]:
        def loss(moved: Arrays) -> float:
            ys = self.value(moved, options)
            return sum(
                float((np.asarray(dy) * y).sum())
                for dy, y in zip(dys, ys, strict=True)
                if dy is not None
            )

        return [differences(loss, arrays, i) if want else None for i, want in enumerate(self.asked)]


class Defined:
    """The values of a reference, the gradients of a definition."""

    level = "the definition of a rule that differs from the derivative on purpose"

    def __init__(self, values: Any, host: Any, definition: Callable[..., Any]) -> None:
        self.values, self.host, self.definition = values, host, definition
        self.value, self.like = values.value, values.like

    def both(
        self, arrays: Any, dys: Any, options: Any, dtype: str = "float64"
    ) -> tuple[list[Any], list[Any]]:
        return self.value(arrays, options, dtype), self.vjp(arrays, dys, options, dtype)

    def vjp(self, arrays: Any, dys: Any, options: Any, dtype: str = "float64") -> list[Any]:
        given = [d for d in dys if d is not None]
        return list(self.host.call(self.definition, [*given, *arrays], options, dtype))


def differences(
    loss: Callable[[Arrays], float],
    arrays: Arrays,
    i: int,
    step: float = STEP,
    places: Any = None,
) -> Any:
    """Gradient of a scalar function of arrays by arrays[i], one element at a time; by the elements
    at `places` of the flat array alone, flat, where they are given."""
    x = np.array(arrays[i], dtype=float)
    chosen = range(x.size) if places is None else places
    grad = np.zeros(len(chosen))
    for n, place in enumerate(chosen):
        h = step * max(1.0, abs(float(x.flat[place])))
        for k, weight in enumerate(WEIGHTS, 1):
            for sign in (1, -1):
                moved = x.copy()
                moved.flat[place] += sign * k * h
                grad[n] += sign * weight * loss([*arrays[:i], moved, *arrays[i + 1 :]]) / h
    return grad.reshape(x.shape) if places is None else grad


def directional(
    loss: Callable[[Arrays], float], arrays: Arrays, i: int, v: Any, step: float = STEP
) -> float:
    """Derivative of a scalar function along v in arrays[i]."""
    x = np.array(arrays[i], dtype=float)
    found = 0.0
    for k, weight in enumerate(WEIGHTS, 1):
        for sign in (1, -1):
            moved = x + sign * k * step * v
            found += sign * weight * loss([*arrays[:i], moved, *arrays[i + 1 :]]) / step
    return found


def _cast(arrays: Arrays, dtype: str) -> list[Any]:
    kind = {"float32": np.float32, WIDER: np.longdouble}.get(dtype, np.float64)
    return [
        a
        if a is None or isinstance(a, tuple) or np.asarray(a).dtype.kind != "f"
        else np.asarray(a, kind)
        for a in arrays
    ]


def _listed(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple | list) else [np.asarray(y)]
