"""How a spec entry is run: the one call path, shared by every framework.

    public function -> Rule.__call__ -> SPEC.bind (checks) -> choose -> run -> kernel.forward
    loss.backward() / jax.grad                                           -> kernel.backward

A framework package subclasses Rule and says only how to wrap a forward/backward pair in its own
differentiable function. This module touches shapes and options, never numbers.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from bpx.dims import Dims
from bpx.spec import Op, Options, SpecError


def always(arrays: tuple[Any, ...], dims: Dims) -> str | None:
    return None


@dataclass(frozen=True)
class Kernel:
    """One way to run a rule.

    forward(*arrays, **options) -> (y, residuals)
    backward(dy, arrays, residuals, needs, **options) -> gradients; `arrays` holds None for what the
        entry does not save; a gradient may be None where `needs` is False
    tangent(tangents, arrays, residuals, **options) -> dy, linear in the tangents (None for zero);
        None in place of the function when the rule has no forward mode
    residuals_backward(dresiduals, arrays, residuals, needs, **options) -> gradients of the
        arguments through the entry's differentiable residuals; None among dresiduals is zero
    residuals_tangent(tangents, arrays, residuals, **options) -> tangents of the residuals but "y",
        None for those that are not differentiable
    refuses(arrays, dims) -> None, or why this kernel cannot run the call; a call in JAX puts the
        options beside the dims
    early: forward takes `needs`, the gradients that will be asked for (not given where none are),
        and may keep more residuals behind the spec's, which its backward finds there
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    tangent: Callable[..., Any] | None = None
    refuses: Callable[[tuple[Any, ...], Dims], str | None] = always
    residuals_backward: Callable[..., Any] | None = None
    residuals_tangent: Callable[..., Any] | None = None
    find: Callable[[], Any] | None = None
    early: bool = False

    def loaded(self) -> Kernel:
        """A lazy kernel with the functions of its module in place of what calls them."""
        if self.find is None:
            return self
        found = self.find()
        return replace(self, forward=found.forward, backward=found.backward)

    @staticmethod
    def lazy(name: str, module: str, entry: str | None = None, *, early: bool = False) -> Kernel:
        """A kernel whose module is imported when first asked; a failing import is its refusal. The
        module holds its functions, or those of a family: in KERNELS[entry]."""

        def find() -> Any:
            found = importlib.import_module(module)
            return found if entry is None else found.KERNELS[entry]

        def call(function: str) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                return getattr(find(), function)(*args, **kwargs)

            return run

        def refuses(arrays: tuple[Any, ...], dims: Dims) -> str | None:
            try:
                refusal: str | None = find().refuses(arrays, dims)
            except ImportError as error:
                return str(error)
            return refusal

        return Kernel(
            name, call("forward"), call("backward"), refuses=refuses, find=find, early=early
        )


class Rule:
    """A spec entry with the kernels that run it, the fastest first and "plain" last."""

    def __init__(self, spec: Op, kernels: tuple[Kernel, ...]) -> None:
        if not kernels or kernels[-1].name != "plain":
            raise TypeError(
                f"{spec.name}: the last kernel must be 'plain'; got {[k.name for k in kernels]}"
            )
        self.spec, self.kernels = spec, kernels
        self.plain = kernels[-1]
        self.runs = tuple(self.wrap(k) for k in kernels)
        self._bound: dict[Any, Dims] = {}

    def wrap(self, kernel: Kernel) -> Callable[..., Any]:
        """The kernel as this framework's differentiable function of (option values, *arrays)."""
        raise NotImplementedError

    def kernel(self, name: str) -> Kernel:
        for k in self.kernels:
            if k.name == name:
                return k
        raise SpecError(f"{self.spec.name}: no kernel {name!r}; {[k.name for k in self.kernels]}")

    def plain_value(self, *arrays: Any, **options: Any) -> Any:
        """The output of the plain forward, for the framework to differentiate by itself."""
        return self.plain.forward(*arrays, **options)[0]

    def with_plain(self, plain: Kernel) -> Rule:
        """The same entry with another plain kernel and no others: how the kit plants bugs."""
        return type(self)(self.spec, (plain,))

    def bind(self, shapes: tuple[Any, ...], options: Options) -> tuple[Options, Dims]:
        """Complete options and dims of a call; remembered by shapes and options."""
        key = None
        if all(s is None or all(type(n) is int for n in s) for s in shapes):
            try:
                key = (shapes, tuple((k, type(v), v) for k, v in options.items()))
                found = self._bound.get(key)
                if found is not None:
                    return self.spec.complete(options), found
            except TypeError:  # an option that cannot be hashed
                key = None
        full = self.spec.complete(options)
        dims = self.spec.bind(shapes, full)
        if key is not None:
            if len(self._bound) > 512:
                self._bound.clear()
            self._bound[key] = dims
        return full, dims


@dataclass(frozen=True)
class Use:
    kernel: str | None = None
    interpret: bool = False


NOTHING = Use()
USED: ContextVar[Use] = ContextVar("bpx_use", default=NOTHING)


@contextlib.contextmanager
def use(kernel: str | None, *, interpret: bool = False) -> Iterator[None]:
    """Within this block every rule runs the named kernel, or raises and says why it cannot.

    `interpret=True` lets GPU kernels run on the CPU in their toolchain's interpreter: slow, for
    tests. A function that was compiled before keeps the kernel it was compiled with.
    """
    token = USED.set(Use(kernel, interpret))
    try:
        yield
    finally:
        USED.reset(token)


def asked() -> str | None:
    """The kernel that `use` forces, None outside of it."""
    return USED.get().kernel


def interpreting() -> bool:
    """Whether kernels may run in their toolchain's interpreter."""
    return USED.get().interpret


def choose(rule: Rule, arrays: tuple[Any, ...], dims: Dims) -> int:
    """The place of the first kernel that does not refuse the call, or of the one asked for."""
    wanted = USED.get().kernel
    if wanted is None and len(rule.kernels) == 1:
        return 0
    refusals = []
    for i, k in enumerate(rule.kernels):
        if wanted is None or k.name == wanted:
            reason = k.refuses(arrays, dims)
            if reason is None:
                return i
            refusals.append(f"{k.name}: {reason}")
    raise SpecError(
        f"{rule.spec.name}: no kernel {wanted!r} for this call; there are "
        f"{[k.name for k in rule.kernels]}" + "".join(f"; {r}" for r in refusals)
    )
