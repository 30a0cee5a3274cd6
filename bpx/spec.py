"""The records of the specification: what an entry says of itself, and the checks every call makes.

`Op` is a layer, activation or loss; `Optimizer` and `Initializer` are what their names say. A
record holds NumPy functions and data, no framework. Mistakes of a caller raise `SpecError`, those
in a record `TypeError` when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from bpx import dims as dim
from bpx.bench_rows import Limits, Rows

Options = dict[str, Any]


class SpecError(ValueError):
    """A call that does not fit its entry: what, the value, and what was expected."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise SpecError(message)


def one_of(entry: str, option: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise unless an option has one of the allowed values."""
    require(value in allowed, f"{entry}: {option} is {value!r}, expected one of {list(allowed)}")


def number(entry: str, option: str, value: object) -> None:
    """Raise unless an option is one real number."""
    require(isinstance(value, Real), f"{entry}: {option} is {value!r}, expected a number")


KINDS = ("float", "index", "bits", "mask", "key")


@dataclass(frozen=True)
class Arg:
    """One array argument. kind "float" has a gradient; no other has one.
    An index lies in 0 <= i < the dim named by `below`, or equals the option named by `ignore`.
    Bits are booleans, eight to a byte (uint8), the first in the lowest bit. A "mask" is booleans,
    True where something takes part. A "key" is the two uint32 words that bpx.random draws from.
    `domain` is the closed interval that float values lie in.
    """

    name: str
    dims: str
    kind: str = "float"
    optional: bool = False
    below: str | None = None
    ignore: str | None = None
    domain: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        dim.parse(self.dims)
        if self.kind not in KINDS:
            raise TypeError(f"Arg {self.name}: kind is {self.kind!r}, expected one of {KINDS}")
        if (self.kind == "index") != (self.below is not None):
            raise TypeError(f"Arg {self.name}: every index has 'below', and nothing else does")


@dataclass(frozen=True)
class Case:
    """One set of inputs with options.

    kink       why finite differences do not apply here
    constant   why an array may hold one value only
    cancels    size of the terms that cancel to nothing in this case, of which rounding is left
    """

    name: str
    arrays: Mapping[str, Any]
    options: Options = field(default_factory=dict)
    kink: str = ""
    constant: str = ""
    cancels: float = 0.0


@dataclass(frozen=True)
class Reject:
    """A call that must raise SpecError with a message containing `message`.

    `shapes` maps argument names to shapes (None for an absent one); `values` gives an index
    argument's contents where they, not the shape, are wrong.
    """

    message: str
    shapes: Mapping[str, tuple[int, ...] | None]
    options: Options = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Op:
    """One primitive.

    forward(*arrays, **options) -> (y, residuals)      residuals in the order of `residuals`
    backward(dy, *arrays, **options) -> one gradient per argument, None for index and absent ones
    cases(draw) -> iterable of Case
    check(dims, options) raises SpecError for what fits no call; where the sizes of the output
    follow from options, it adds them to `dims` under the names that `out` uses.
    `saves` names the arguments kept for backward, `shapes` those among them of which only the shape
    is kept. A residual named "y" is the output itself. `constant` has the residuals that are
    piecewise constant in the arguments, with their dtype, "bool" or "int8"; `differentiable` names
    those whose own derivative the rule has by hand; all others a second derivative computes again.
    `surrogate` says in a sentence why backward is not the derivative of forward: backward is then
    the definition, and a second derivative is that of backward. `linear` is False where such a
    backward is not linear in dy.
    `bench` are the sizes that are timed, `limits` the ratios that differ from bench_rows.LIMITS;
    `path` is the file without suffix, in each tree; `doc` has formula, choices and source.
    """

    name: str
    path: str
    doc: str
    args: tuple[Arg, ...]
    out: str | Callable[[Options], str]
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    cases: Callable[..., Iterable[Case]]
    residuals: Mapping[str, str] = field(default_factory=dict)
    saves: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    constant: Mapping[str, str] = field(default_factory=dict)
    differentiable: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    check: Callable[[dim.Dims, Options], None] | None = None
    rejects: tuple[Reject, ...] = ()
    bench: Rows = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    elementwise: bool = False
    analytic: bool = True
    kinks: str = "none"
    surrogate: str = ""
    linear: bool = True

    def __post_init__(self) -> None:
        names = [a.name for a in self.args]
        if unknown := set(self.saves) - set(names):
            raise TypeError(f"{self.name}: saves {sorted(unknown)}, expected some of {names}")
        if unknown := set(self.shapes) - set(self.saves):
            raise TypeError(f"{self.name}: shapes {sorted(unknown)}, expected some of {self.saves}")
        if "Source:" not in self.doc:
            raise TypeError(f"{self.name}: doc has no 'Source:' line")
        if not (self.linear or self.surrogate):
            raise TypeError(f"{self.name}: linear is False, expected True without a surrogate")
        if unknown := {*self.constant, *self.differentiable} - set(self.residuals):
            raise TypeError(f"{self.name}: {sorted(unknown)} are not among its residuals")
        required = {a.name for a in self.args if not a.optional}
        if (again := self.recomputed()) and not required <= set(self.saves) - set(self.shapes):
            # autograd takes saved residuals as constants, and these are none
            raise TypeError(f"{self.name}: residuals {again} need every required argument in saves")

    def recomputed(self) -> list[str]:
        """The residuals that a second derivative computes again from the arguments."""
        return [r for r in self.residuals if r not in {"y", *self.constant, *self.differentiable}]

    def out_dims(self, options: Options) -> str:
        return self.out if isinstance(self.out, str) else self.out(options)

    def complete(self, options: Options) -> Options:
        """The options of a call with the defaults filled in, in the order of the record."""
        for name in options:
            if name not in self.options:
                raise SpecError(
                    f"{self.name}: unknown option {name!r}; it takes {list(self.options)}"
                )
        return {**self.options, **options}

    def bind(self, shapes: tuple[tuple[int, ...] | None, ...], options: Options) -> dim.Dims:
        """Check one call's shapes and complete options. Returns the size of every dim met."""
        if len(shapes) != len(self.args):
            raise SpecError(
                f"{self.name}: got {len(shapes)} arrays, expected {[a.name for a in self.args]}"
            )
        bound: dim.Dims = {}
        for arg, shape in zip(self.args, shapes, strict=True):
            if shape is None:
                if not arg.optional:
                    raise SpecError(f"{self.name}: {arg.name} is None, expected ({arg.dims})")
            elif (problem := dim.match(arg.dims, shape, bound)) is not None:
                raise SpecError(f"{self.name}: {arg.name} has shape {tuple(shape)}, {problem}")
        if self.check is not None:
            self.check(bound, options)
        return bound


@dataclass(frozen=True)
class Optimizer:
    """One optimizer, one parameter at a time.

    init(p, **options) -> state, a dict of arrays
    step(p, g, state, t, **options) -> (p, state)      t = 1, 2, ...; nothing is changed in place
    prepare(gs, options) -> gs      what looks at all gradients at once, before the steps
                                    (None where absent), each gradient has its own options
    params_at(p, state, mode) -> p  what to use in mode "train" or "eval", where they differ
    shared       names of state of the group: it and t advance without the parameter's gradient too
    derived      names of state that follow from the parameter and the rest: need not be kept
    """

    name: str
    path: str
    doc: str
    options: Options
    state: tuple[str, ...]
    init: Callable[..., dict[str, Any]]
    step: Callable[..., Any]
    prepare: Callable[[list[Any], list[Options]], list[Any]] | None = None
    params_at: Callable[[Any, dict[str, Any], str], Any] | None = None
    shared: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    check: Callable[[Options], None] | None = None
    rejects: tuple[Reject, ...] = ()
    trials: tuple[Options, ...] = ({},)

    def __post_init__(self) -> None:
        if "Source:" not in self.doc:
            raise TypeError(f"{self.name}: doc has no 'Source:' line")


@dataclass(frozen=True)
class Initializer:
    """One initializer: a deterministic transform of given noise.

    from_noise(noise, shape, **options) -> float64 array
                 noise(kind, shape) draws "uniform" [0, 1) or "normal" float64 from one key
    moments(shape, **options) -> (mean, standard deviation), or None where it has no distribution
    """

    name: str
    path: str
    doc: str
    options: Options
    from_noise: Callable[..., Any]
    moments: Callable[..., Any] | None = None
    check: Callable[[tuple[int, ...], Options], None] | None = None
    rejects: tuple[Reject, ...] = ()
    trials: tuple[Options, ...] = ({},)

    def __post_init__(self) -> None:
        if "Source:" not in self.doc:
            raise TypeError(f"{self.name}: doc has no 'Source:' line")
