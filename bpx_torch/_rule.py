"""A bpx rule in torch: its call. The call path is in bpx/rule.py."""

from collections.abc import Callable

import torch

from bpx import rule
from bpx.spec import Op
from bpx_torch._arguments import check_indices, check_types
from bpx_torch._fast import Fast
from bpx_torch._kernel_function import differentiable

AUTOCAST = ("keep", "lower", "float32")


class Rule(rule.Rule):
    """`autocast` is what torch.autocast does to the floating arguments: nothing, the autocast
    dtype ("lower but h0" leaves that argument alone), or float32 (float64 is never touched), as
    torch's own lists have it for the operation; a dict where the lists differ by device.
    `trim` has, by the name of an argument or a residual, what backward reads of it where that may
    be less than all: f(value, *arrays, **options) -> what is kept in its place, which has no
    derivative. `part` is for a y of which backward reads less but with a derivative: take(y,
    *arrays, **options) -> the part, or y itself where that is kept, and its adjoint in y, put(d,
    **options). Whether it is y depends on shapes and on which arrays are given."""

    def __init__(
        self,
        spec: Op,
        kernels: tuple[rule.Kernel, ...],
        autocast: str | dict[str, str] = "keep",
        trim: dict[str, Callable[..., torch.Tensor]] | None = None,
        part: tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]] | None = None,
    ) -> None:
        self.trim, self.part = trim or {}, part
        super().__init__(spec, kernels)
        policies = {"": autocast} if isinstance(autocast, str) else autocast
        known = (*AUTOCAST, *(f"lower but {a.name}" for a in spec.args))
        if unknown := set(policies.values()) - set(known):
            raise TypeError(f"{spec.name}: autocast is {unknown}, expected some of {known}")
        self.autocast = policies
        self.fast = Fast(self)

        def call(options, *arrays):
            return self._call(dict(options), arrays)[0]

        def call_whole(options, *arrays):
            return self._call(dict(options), arrays)

        # Dynamo would differentiate the forward under torch.func, and refuses one tensor passed
        # twice: it may only record this call, AOTAutograd then traces the Function itself.
        self._recorded = torch.compiler.allow_in_graph(call)
        self._recorded_whole = torch.compiler.allow_in_graph(call_whole)

    def __call__(self, *arrays, **options):
        if not torch.compiler.is_compiling():
            fast = self.fast
            if fast.known is not None and (y := fast.known(arrays, options)) is not None:
                return y
            if plan := fast.plan(options, arrays):
                return fast.call(plan, arrays)
        return self._recorded(tuple(options.items()), *arrays)

    def with_residuals(self, *arrays, **options):
        """(y, residuals but "y"): what a face needs that keeps statistics. Residuals are constants:
        no gradient flows through them."""
        if not torch.compiler.is_compiling():
            fast = self.fast
            found = None if fast.known is None else fast.known.whole(arrays, options)
            if found is None and (plan := fast.plan(options, arrays)):
                found = fast.whole(plan, arrays)
            if found is not None:
                return found[0], found[1:]
        y, *residuals = self._recorded_whole(tuple(options.items()), *arrays)
        names = (r for r in self.spec.residuals if r != "y")
        return y, tuple(r.detach() for r, _ in zip(residuals, names, strict=False))

    def with_plain(self, plain: rule.Kernel) -> "Rule":
        return Rule(self.spec, (plain,), self.autocast, self.trim, self.part)

    def forward(self, *arrays, kernel: str = "plain", **options):
        """The pure forward: (y, residuals), no autograd Function."""
        return self.kernel(kernel).forward(*arrays, **self.spec.complete(options))

    def backward(self, dy, arrays, residuals, needs=None, *, kernel: str = "plain", **options):
        """The pure backward: one gradient per argument, None where `needs` is False."""
        if needs is None:
            kinds = (a.kind for a in self.spec.args)
            needs = tuple(
                k == "float" and a is not None for k, a in zip(kinds, arrays, strict=True)
            )
        options = self.spec.complete(options)
        return self.kernel(kernel).backward(dy, arrays, residuals, needs, **options)

    def _call(self, options, arrays):
        check_types(self.spec, arrays)
        # torch.compile hands over an option that changed between calls as a symbol
        options = {k: _number(v) for k, v in options.items()}
        shapes = tuple(None if a is None else tuple(a.shape) for a in arrays)
        options, dims = self.bind(shapes, options)
        check_indices(self.spec, arrays, dims, options)
        values = tuple(options.values())
        device = next(a.device.type for a in arrays if a is not None)
        policy = self.autocast.get(device) or self.autocast.get("", "keep")
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            if policy != "keep":
                arrays = self._autocast(policy, device, arrays)
            with torch.autocast(device, enabled=False):
                return self.runs[rule.choose(self, arrays, dims)](values, *arrays)
        return self.runs[rule.choose(self, arrays, dims)](values, *arrays)

    def _autocast(self, policy, device, arrays):
        dtype = torch.float32 if policy == "float32" else torch.get_autocast_dtype(device)
        alone = policy.partition(" but ")[2]
        names = (arg.name for arg in self.spec.args)
        return tuple(
            a if n == alone else _cast(a, dtype) for n, a in zip(names, arrays, strict=True)
        )

    def wrap(self, kernel):
        return differentiable(self.spec, self.plain, kernel, self.trim, self.part)


def _number(value):
    if isinstance(value, torch.SymFloat):
        return float(value)
    return int(value) if isinstance(value, torch.SymInt) else value


def _cast(a, dtype):
    if a is None or not a.is_floating_point() or a.dtype == torch.float64:
        return a
    return a.to(dtype)
