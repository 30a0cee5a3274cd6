"""The short way to a rule's cpu kernel: eager code on plain CPU tensors, where a call is cheap.

A rule's call looks at types, options, shapes, indices, autocast and every kernel's refusals, and
wraps the arrays for torch.func, all of which costs more than a small operation does. What those
looks found depends on the options, dtypes and shapes alone where `eager` holds, so it is remembered
by them. The Function saves in its forward, which torch.func could not follow.
"""

import torch
from torch.autograd import forward_ad

from bpx import rule
from bpx_torch._arguments import check_indices

PLAIN = (torch.Tensor, torch.nn.Parameter)
REMEMBERED = 512


def eager():
    """Whether nothing looks at the operations of this call: no compiler, transform or mode."""
    return not (
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or rule.asked() not in (None, "cpu")
    )


def saving(name, function, kernel, keep):
    """The kernel's Function that saves in its forward, with the same backward."""

    def forward(ctx, options, *arrays):
        y, residuals = kernel.forward(*arrays, **options)
        ctx.options = options
        keep(ctx, arrays, residuals)
        return y

    without = torch.autograd.function._SingleLevelFunction.setup_context
    methods = {"forward": staticmethod(forward), "setup_context": staticmethod(without)}
    return type(function)(name, (function,), methods)


class Fast:
    """One rule's calls by (options, dtypes, shapes) -> the complete options, the dims and the cpu
    kernel's Function; None for a call that must go the long way."""

    def __init__(self, owner):
        self.owner, self.found = owner, {}
        self.indices = any(arg.kind == "index" for arg in owner.spec.args)
        self.place = next((i for i, k in enumerate(owner.kernels) if k.name == "cpu"), None)
        self.forward = None if self.place is None else owner.kernels[self.place].forward
        lowered = owner.autocast.get("cpu") or owner.autocast.get("", "keep")
        self.autocast = lowered != "keep"

    def find(self, options, arrays):
        """(options, dims, Function) or None."""
        if self.place is None or not eager():
            return None
        if self.autocast and torch.is_autocast_enabled("cpu"):
            return None
        key = [(k, type(v), v) for k, v in options.items()]
        for a in arrays:
            if a is None:
                key.append(None)
                continue
            if type(a) not in PLAIN or not a.is_cpu or a.layout is not torch.strided:
                return None
            key.append(a.dtype)
            key.append(a.shape)
        try:
            return self.found[key := tuple(key)]
        except KeyError:
            pass
        except TypeError:  # an option that cannot be hashed
            return None
        if len(self.found) > REMEMBERED:
            self.found.clear()
        found = self.found[key] = self._look(options, arrays)
        return found

    def _look(self, options, arrays):
        """What the long way would choose; its errors are for the long way to raise."""
        owner = self.owner
        try:
            full, dims = owner.bind(tuple(None if a is None else a.shape for a in arrays), options)
            if rule.choose(owner, arrays, dims) != self.place:
                return None
        except rule.SpecError:
            return None
        return full, dims, owner.runs[self.place].saving

    def call(self, found, arrays):
        options, dims, function = found
        if self.indices:
            check_indices(self.owner.spec, arrays, dims, options)
        if torch.is_grad_enabled():
            for a in arrays:
                if a is not None and a.requires_grad:
                    return function.apply(options, *arrays)
        return self.forward(*arrays, **options)[0]
