"""A function on torch tensors for the kit: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bpx_torch.candidate import engine, layouts, memory, transforms

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def to_numpy(t: Any) -> Any:
    if t is None:
        return None
    t = t.detach().cpu()
    return t.double().numpy() if t.is_floating_point() else t.numpy()


def listed(out: Any) -> list[Any]:
    """The outputs of a function: one tensor, or a tuple or list of them."""
    outs = list(out) if isinstance(out, tuple | list) else [out]
    for o in outs:
        if not isinstance(o, torch.Tensor):
            raise AssertionError(f"returns {type(o).__name__}, expected tensors")
        if o.device.type != "cpu":
            raise AssertionError(f"returns a tensor on {o.device}, expected cpu as its arguments")
    return outs


class Scale(torch.autograd.Function):
    """y, with its gradient multiplied: what makes a broken twin of a rule."""

    @staticmethod
    def forward(ctx, y, factor):
        ctx.factor = factor
        return y.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.factor, None


class TorchHost:
    name = "torch"
    few = False

    def forget(self) -> None:
        """Nothing is kept."""

    def tensor(self, array: Any, dtype: str, grad: bool = False) -> torch.Tensor:
        t = torch.from_numpy(np.array(array))  # a copy: what the rule does to it stays with it
        if t.is_floating_point():
            t = t.to(DTYPES[dtype])
        return t.requires_grad_() if grad else t

    def rounded(self, array, dtype):
        return to_numpy(self.tensor(array, dtype))

    def call(self, f, arrays, options, dtype):
        tensors = [self.tensor(a, dtype) for a in arrays]
        with torch.no_grad():
            out = f(*tensors, **options)
        if isinstance(out, tuple | list) and any(o is None for o in out):
            return [None if o is None else to_numpy(o) for o in out]
        return [to_numpy(o) for o in listed(out)]

    def like(self, f, arrays, options):
        return self.call(f, arrays, options, "float64")

    def pull(self, f, arrays, options, dys, dtype, asked):
        tensors = [self.tensor(a, dtype, grad) for a, grad in zip(arrays, asked, strict=True)]
        ys = listed(f(*tensors, **options))
        return [to_numpy(y) for y in ys], [
            to_numpy(g) for g in self.grads(ys, tensors, [self._dy(d, dtype) for d in dys])
        ]

    def _dy(self, dy: Any, dtype: str) -> Any:
        return None if dy is None else self.tensor(dy, dtype)

    def grads(self, ys, tensors, dys, **how: Any):
        """One gradient per tensor, None for those that ask for none or get none."""
        used = [(y, d) for y, d in zip(ys, dys, strict=False) if d is not None and y.requires_grad]
        wanted = [t for t in tensors if t.requires_grad]
        if not used:
            return [None] * len(tensors)
        for y, d in used:
            assert y.shape == d.shape, (
                f"output has shape {tuple(y.shape)}, expected {tuple(d.shape)}"
            )
        found = torch.autograd.grad(
            [y for y, _ in used],
            wanted,
            [d.to(y.dtype) for y, d in used],
            allow_unused=True,
            **how,
        )
        grads = iter(found)
        return [next(grads) if t.requires_grad else None for t in tensors]

    def twice(self, f, arrays, options, dys, vs, asked):
        """Gradients of sum <v, gradient>, the incoming gradient constant, and where it is none too.

        The first is where a rule stays silent; an error there refuses. One in the second is loud.
        """
        found = [self._twice(f, arrays, options, dys, vs, asked, False)]
        try:
            found.append(self._twice(f, arrays, options, dys, vs, asked, True))
        except RuntimeError:
            pass  # loud
        return found

    def _twice(self, f, arrays, options, dys, vs, asked, dy_too):
        tensors = [self.tensor(a, "float64", grad) for a, grad in zip(arrays, asked, strict=True)]
        given = [None if d is None else self.tensor(d, "float64", dy_too) for d in dys]
        first = self.grads(listed(f(*tensors, **options)), tensors, given, create_graph=True)
        loss = sum(
            (self.tensor(v, "float64") * g).sum()
            for v, g in zip(vs, first, strict=True)
            if v is not None and g is not None
        )
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            return [None] * len(tensors)  # a constant, silently: compared as zero
        second = self.grads([loss], tensors, [torch.ones((), dtype=torch.float64)])
        return [to_numpy(g) for g in second]

    def scaled(self, f, factor):
        def broken(*tensors, **options):
            # of the inputs: a rule that clips or normalises dy would not notice a larger one
            return f(
                *(Scale.apply(t, factor) if t.is_floating_point() else t for t in tensors),
                **options,
            )

        return broken

    def callable_of(self, rule):
        """What is called: the apply of a Function, anything else as it is."""
        if isinstance(rule, type) and issubclass(rule, torch.autograd.Function):
            return _positional(rule.apply)
        owner = getattr(rule, "__self__", None)
        if isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
            return _positional(rule)
        return rule

    def name_of(self, rule: Any) -> str:
        owner = getattr(rule, "__self__", None)
        named = owner if isinstance(owner, type) else rule
        name = getattr(named, "__name__", None) or getattr(named, "_name", None)
        return str(name or type(rule).__name__)

    def checks(self, trial: Any, quick: bool, full: bool) -> list[Any]:
        found = [*layouts.checks(trial, quick), *memory.checks(trial, quick)]
        found += engine.checks(trial, quick)
        return found + ([] if quick else transforms.checks(trial, full))


def _positional(apply: Any) -> Any:
    """A Function takes options by position, in their order."""

    def call(*tensors, **options):
        return apply(*tensors, *options.values())

    vars(call)["__bpx_rule__"] = apply  # for a reproducer to name
    return call


HOST = TorchHost()
