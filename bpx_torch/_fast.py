"""The short way to a rule's kernel of a device: eager code on plain tensors, where calls are cheap.

A rule's call looks at types, options, shapes, indices, autocast and every kernel's refusals, and
wraps the arrays for torch.func, all of which costs more than a small operation does. What those
looks found depends on the options, dtypes and shapes alone where `eager` holds, so it is remembered
by them. The Function saves in its forward, which torch.func could not follow.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from bpx import rule
from bpx_torch import _node
from bpx_torch._arguments import check_indices, check_types
from bpx_torch._function import on_its_own
from bpx_torch._given import bounds, packed, unseen
from bpx_torch._recording import add, record

PLAIN = (torch.Tensor, torch.nn.Parameter)
KERNELS = ("cpu", "triton", "plain")
REMEMBERED = 512
VIEWS = frozenset({"flatten"})  # rules of which y is the argument in another shape
REPEATED = VIEWS | {"linear"}  # whose plain kernel is recorded, beside every cpu kernel
NEVER = 1 << 62  # calls of a plan that is not recorded, or no more
RECORDED = 3  # calls of one plan, of which the last is recorded


def eager():
    """Whether nothing looks at the operations of this call or changes them: no compiler, transform,
    mode or autocast."""
    return not (
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
        or torch._C._is_any_autocast_enabled()
        or forward_ad._current_level >= 0
        or rule.asked() not in (None, "cpu")
        or rule.interpreting()
    )


@dataclass
class Plan:
    """What a call found out, for calls of the same options, dtypes and shapes."""

    given: dict[str, Any]  # options, of which the others have their defaults
    options: dict[str, Any]
    dims: dict[str, Any]
    dtypes: tuple[torch.dtype | None, ...]
    shapes: list[Any]  # of the arguments of which only these are kept
    unseen: list[Any]  # what stands in for them in backward: NaN of that shape, None where absent
    uniform: bool  # one floating dtype, that of the kernel's arithmetic: gradients have it already
    apply: Any  # the Function's
    forward: Any  # the kernel's
    backward: Any
    place: int  # of the kernel
    sizes: list[Any]  # shapes of all arguments
    calls: int  # until it is recorded
    view: bool  # y is the argument in another shape
    node: Any = None  # the call as a node of torch's own graph, where it is recorded,
    packs: bool = False  # of copies without gaps
    known: set[Any] = field(default_factory=set)  # needs that were recorded, or could not be


class Fast:
    """One rule's calls by (options, dtypes, shapes)."""

    def __init__(self, owner):
        self.owner, self.plans = owner, {}
        self.known = None  # those of the plans that are nodes, looked up without Python
        self.indices = any(arg.kind == "index" for arg in owner.spec.args)
        self.places = {i for i, k in enumerate(owner.kernels) if k.name in KERNELS}

    def plan(self, options, arrays):
        """The Plan of a call that may go the short way, or None."""
        if not self.places or not eager():
            return None
        key = [(k, type(v), v) for k, v in options.items()] if options else []
        for i, (k, kind, v) in enumerate(key):
            if kind is float and v == 0:
                key[i] = k, kind, repr(v)  # -0.0 equals 0.0, and threshold writes it
        for a in arrays:
            if a is None:
                key.append(None)
                continue
            if type(a) not in PLAIN or a.layout is not torch.strided:
                return None
            if not a.is_cpu:
                if not a.is_cuda or rule.asked() is not None:
                    return None
                key.append(a.device)
            key.append(a.dtype)
            key.append(a.shape)
            if not a.is_contiguous():
                key.append(a.stride())
        key = tuple(key)
        try:
            return self.plans[key]
        except KeyError:
            pass
        except TypeError:  # an option that cannot be hashed
            return None
        if len(self.plans) > REMEMBERED:
            self.plans.clear()
            self.known = None
        found = self.plans[key] = self._look(options, arrays)
        return found

    def _look(self, options, arrays):
        """What the long way would choose; its errors are for the long way to raise."""
        owner = self.owner
        try:
            check_types(owner.spec, arrays)
            full, dims = owner.bind(tuple(None if a is None else a.shape for a in arrays), options)
            place = rule.choose(owner, arrays, dims)
        except rule.SpecError:
            return None
        if place not in self.places:
            return None
        run, kernel = owner.runs[place], owner.kernels[place].loaded()
        floats = {a.dtype for a in arrays if a is not None and a.is_floating_point()}
        shapes = run.shapes(arrays)
        return Plan(
            options,
            full,
            dims,
            tuple(None if a is None else a.dtype for a in arrays),
            shapes,
            [*map(unseen, shapes)],
            floats in ({torch.float32}, {torch.float64}),
            super(torch.autograd.Function, run.saving()).apply,
            kernel.forward,
            kernel.backward,
            place,
            [None if a is None else a.shape for a in arrays],
            0 if kernel.name == "cpu" or owner.spec.name in REPEATED else NEVER,
            owner.spec.name in VIEWS,
        )

    def call(self, plan, arrays):
        if (node := self._node(plan, arrays)) is not None:
            arrays = packed(self.owner.spec.name, arrays) if plan.packs else arrays
            y = node(*arrays)
            if y is None and self._needs(plan, arrays):
                y = node(*arrays)
            if y is not None:
                return y
        if torch.is_grad_enabled():
            for a in arrays:
                if a is not None and a.requires_grad:
                    found = plan.apply(plan, *arrays)
                    return found[0] if type(found) is tuple else found
        return plan.forward(*arrays, **plan.options)[0]

    def whole(self, plan, arrays):
        """(y, *residuals but y) of a call that is a node, or None."""
        node = self._node(plan, arrays)
        found = None if node is None else node.whole(*arrays)
        if found is None and node is not None and self._needs(plan, arrays):
            found = node.whole(*arrays)
        return found

    def _node(self, plan, arrays):
        """The plan's node, or None; SpecError for indices that are out of bounds."""
        if self.indices:
            check_indices(self.owner.spec, arrays, plan.dims, plan.options)
        if plan.node is not None or plan.calls >= NEVER:
            return plan.node
        plan.calls = min(plan.calls + 1, RECORDED)
        if plan.calls == RECORDED and _node.module() is not None and not _node.followed():
            plan.calls = NEVER
            record(self.owner, plan, arrays)
            if plan.node is not None and not plan.packs:
                self.known = self.known or _node.module().Known(rule.USED, rule.NOTHING)
                held = bounds(self.owner.spec, plan.dims, plan.options)
                self.known.add(tuple(arrays), plan.given, held, plan.node)
        return plan.node

    def _needs(self, plan, arrays):
        """Whether the node did not know these needs, and now does; gaps it never takes."""
        needs = tuple(a is not None and a.requires_grad for a in arrays)
        if needs in plan.known or not (torch.is_grad_enabled() and any(needs)):
            return False
        plan.known.add(needs)
        return add(self.owner, plan, arrays, needs)


def saving(name, function, kernel, spec, kept, given, trimmed):
    """The kernel's Function that saves in its forward what is at the places `kept`. given(ctx,
    arrays, y, residuals) -> (all outputs, what of them is saved) where a second derivative takes
    more outputs than y, else None. trimmed(saved, arrays, options) -> what is saved, or None."""
    backward_by_value = function.backward
    n_args = len(spec.args)
    every = kept == tuple(range(n_args))
    shaped = tuple(i for i, a in enumerate(spec.args) if a.name in spec.shapes)
    residuals_at = slice(len(kept), None if kernel.early else len(kept) + len(spec.residuals))
    rest = [None] * n_args

    def forward(ctx, plan, *arrays):
        early = {"needs": ctx.needs_input_grad[1:]} if kernel.early else {}
        y, residuals = kernel.forward(*arrays, **plan.options, **early)
        y, residuals = on_its_own(y, residuals, arrays)
        ctx.plan = plan
        ctx.options, ctx.dtypes, ctx.shapes = plan.options, plan.dtypes, plan.shapes
        ctx.set_materialize_grads(False)
        saved = arrays if every else [arrays[i] for i in kept]
        if given is None and trimmed is None:
            ctx.save_for_backward(*saved, *residuals)
            return y
        outputs, more = (y, residuals) if given is None else given(ctx, arrays, y, residuals)
        saved = (*saved, *more)
        ctx.save_for_backward(*(saved if trimmed is None else trimmed(saved, arrays, plan.options)))
        return outputs

    def backward(ctx, dy, *dresiduals):
        plan = ctx.plan
        if (
            dy is None
            or torch._C._is_any_autocast_enabled()
            or not plan.uniform
            or torch.is_grad_enabled()
            or forward_ad._current_level >= 0
            or torch._C._are_functorch_transforms_active()
            or is_legacy_batchedtensor(dy)
            or any(d is not None for d in dresiduals)
        ):
            return backward_by_value(ctx, dy, *dresiduals)
        saved = ctx.saved_tensors
        if every:
            arrays = saved[:n_args]
        else:
            arrays = rest.copy()
            for i, a in zip(kept, saved, strict=False):
                arrays[i] = a
            for i, a in zip(shaped, plan.unseen, strict=True):
                arrays[i] = a
        needs = ctx.needs_input_grad[1:]
        return (
            None,
            *kernel.backward(dy, arrays, saved[residuals_at], needs, **plan.options),
        )

    without = torch.autograd.function._SingleLevelFunction.setup_context
    methods = {"forward": forward, "backward": backward, "setup_context": without}
    return type(function)(name, (function,), {k: staticmethod(m) for k, m in methods.items()})
