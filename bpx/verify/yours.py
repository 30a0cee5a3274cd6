"""Anyone's rule against a plain reference function, in the framework the rule is written for.

    from bpx.verify import Float, verify_rule

    report = verify_rule(my_rule, ref=my_plain_function, args=[Float("N D"), Float("D")],
                         framework="torch")
    report.check()

`my_rule` is any callable on torch tensors or JAX arrays with a derivative of its own
(autograd.Function.apply, a module, a custom_vjp); `ref` computes the same in plain operations. Both
are called with the arguments in order. Every check that bpx's own rules pass is run: values and
gradients against `ref` in float64 and float32, layouts, subsets, purity, second derivative,
transforms.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from bpx import dims
from bpx.spec import Arg, Case, one_of
from bpx.verify.bound import bound, movement
from bpx.verify.draw import Draw
from bpx.verify.finding import Finding, compare
from bpx.verify.report import Report
from bpx.verify.surrogate import REFUSED

SIZES = (3, 5, 2, 7, 4, 6)


@dataclass(frozen=True)
class Float:
    """A floating argument with these dims ("N D", "*N D", ""), drawn from `low` to `high` when
    given, else standard normal."""

    dims: str
    low: float | None = None
    high: float | None = None

    def draw(self, draw: Draw, shape: tuple[int, ...]) -> Any:
        if self.low is None or self.high is None:
            return draw(*shape)
        return self.low + (self.high - self.low) * draw.uniform(*shape)


@dataclass(frozen=True)
class Index:
    """An integer argument in 0 <= i < `below`, a number or the name of a dim."""

    dims: str
    below: int | str

    def draw(self, draw: Draw, shape: tuple[int, ...], high: int) -> Any:
        return draw.index(high, *shape)


class Subject:
    """A stranger's rule in the place of one of bpx's: what the structural checks look at."""

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        ref: Callable[..., Any],
        args: Any,
        surrogate: Callable[..., Any] | None,
    ) -> None:
        kinds = [("index", "B") if isinstance(a, Index) else ("float", None) for a in args]
        named = tuple(
            Arg(f"argument {i}", a.dims, kind, below=below)
            for i, (a, (kind, below)) in enumerate(zip(args, kinds, strict=True))
        )
        self.spec = SimpleNamespace(
            name=name, args=named, elementwise=False, surrogate=bool(surrogate), linear=True
        )
        self.call, self.ref, self.definition = call, ref, surrogate

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        return self.call(*arrays)

    def plain_value(self, *arrays: Any, **options: Any) -> Any:
        return self.ref(*arrays)


def verify_rule(
    rule: Callable[..., Any],
    *,
    ref: Callable[..., Any],
    args: Sequence[Float | Index],
    framework: str,
    twice: bool = True,
    vmap: bool = True,
    surrogate: Callable[..., Any] | None = None,
) -> Report:
    """Check a rule against `ref`. Returns the report; `.check()` raises with what is wrong.

    framework   "torch" or "jax"
    twice       False leaves out second derivatives, for rules that do not claim any
    vmap        False leaves out vmap, which an old-style autograd.Function does not have
    surrogate   surrogate(dy, *args) -> one gradient per argument, for a rule that differs from the
                derivative of `ref` on purpose: its definition, in plain operations
    """
    one_of("verify_rule", "framework", framework, ("torch", "jax"))
    runner = importlib.import_module(f"bpx_{framework}.verify").RUNNER()
    owner = getattr(rule, "__self__", None)  # of Function.apply
    name = getattr(owner or rule, "__name__", type(rule).__name__)
    subject = Subject(name, rule, ref, args, surrogate)
    found: list[Finding] = []
    if surrogate is not None:
        found.append(_marked(subject, runner, draws(name, args)[0]))
    for case in draws(name, args):
        for dtype in ("float64", "float32"):
            found.extend(_compared(subject, runner, case, dtype))
    asked = {"second derivative": twice, "vmap": vmap}
    for check in runner.stranger_checks:
        if not asked.get(check, True):
            continue
        message = ""
        try:
            runner.checks[check](runner, subject, "plain", case0 := draws(name, args)[0], "float64")
        except AssertionError as error:
            message = str(error) or "failed"
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
        found.append(
            Finding(name, framework, "yours", "structure", case0.name, check, message=message)
        )
    return Report(found)


def _compared(subject: Subject, runner: Any, case: Case, dtype: str) -> Iterator[Finding]:
    """Output and gradients in one dtype against the reference's in float64, at the same inputs."""
    found = partial(Finding, subject.spec.name, runner.name, "yours", case=case.name, dtype=dtype)
    names = list(case.arrays)
    arrays = [runner.rounded(a, dtype) if a.dtype.kind == "f" else a for a in case.arrays.values()]

    def at(values: Any) -> Case:
        return Case(case.name, dict(zip(names, values, strict=True)))

    def value(values: Any) -> list[Any]:
        return [runner.oracle_value(subject.plain_value, subject, at(values))]

    y = value(arrays)[0]
    dy = runner.rounded(Draw(f"dy {case.name}", 1)(*y.shape), dtype)

    def gradients(values: Any) -> list[Any]:
        grads = _wanted(subject, runner, at(values[1:]), values[0])
        return [np.zeros(()) if g is None else g for g in grads]

    legs = (
        (
            "forward",
            ["y"],
            value,
            arrays,
            [runner.oracle_value(subject, subject, at(arrays), dtype)],
        ),
        (
            "backward",
            [f"gradient of {n}" for n in names],
            gradients,
            [dy, *arrays],
            [
                np.zeros(()) if g is None else g
                for g in runner.gradient(subject, "plain", at(arrays), dy, dtype)
            ],
        ),
    )
    for leg, what, f, inputs, got in legs:
        want = f(inputs)
        for w, g, r, m in zip(what, got, want, movement(f, inputs, want), strict=True):
            eps, ratio, message = compare(g, r, bound(r, m, dtype, False), dtype)
            yield found(leg=leg, what=w, eps=eps, ratio=ratio, message=message)


def _wanted(subject: Subject, runner: Any, case: Case, dy: Any) -> Sequence[Any]:
    """The gradients by the reference, or by the definition of a surrogate."""
    definition = subject.definition
    if definition is None:
        return runner.autodiff(subject.plain_value, subject, case, dy)
    with_dy = Case(case.name, {"dy": dy, **case.arrays})
    grads: list[Any] = []
    for i, arg in enumerate(subject.spec.args):
        one = partial(_one_of, definition, i)
        there = arg.kind == "float"
        grads.append(runner.oracle_value(one, subject, with_dy) if there else None)
    return grads


def _one_of(definition: Callable[..., Any], i: int, *arrays: Any) -> Any:
    return definition(*arrays)[i]


def _marked(subject: Subject, runner: Any, case: Case) -> Finding:
    """Refuses the definition of a surrogate that is the derivative of the reference."""
    y = runner.oracle_value(subject.plain_value, subject, case)
    dy = Draw(f"dy {case.name}", 1)(*y.shape)
    derivative = runner.autodiff(subject.plain_value, subject, case, dy)
    pairs = zip(_wanted(subject, runner, case, dy), derivative, strict=True)
    same = all(
        g is None or np.allclose(g, 0 if d is None else d, rtol=1e-12, atol=1e-12) for g, d in pairs
    )
    found = partial(Finding, subject.spec.name, runner.name, "yours", "spec", case.name)
    return found("surrogate", message=REFUSED if same else "")


def draws(name: str, args: Sequence[Float | Index]) -> list[Case]:
    """Three sets of generic inputs with distinct sizes, one of them with a dim of one."""
    names: list[str] = []
    for arg in args:
        tokens, star = dims.parse(arg.dims)
        for i, token in enumerate(tokens):
            if not token.isdigit() and token not in names and i != star:
                names.append(token)
    found = []
    for k in range(3):
        sizes: dict[str, Any] = {n: SIZES[(i + k) % len(SIZES)] for i, n in enumerate(names)}
        if k == 2 and names:
            sizes[names[0]] = 1
        for arg in args:
            tokens, star = dims.parse(arg.dims)
            if star is not None:
                sizes[tokens[star]] = ((3,), (2, 4), ())[k]
        draw = Draw(f"{name} {k}")
        arrays = {}
        for i, arg in enumerate(args):
            shape = dims.shape(arg.dims, sizes)
            if isinstance(arg, Index):
                high = arg.below if isinstance(arg.below, int) else sizes[arg.below]
                arrays[f"argument {i}"] = arg.draw(draw, shape, high)
            else:
                arrays[f"argument {i}"] = np.asarray(arg.draw(draw, shape))
        found.append(Case(f"sizes {sorted(sizes.items())}", arrays))
    return found
