"""A kernel of a bpx rule as a torch.autograd.Function: what is saved, and every derivative."""

import functools
import warnings

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from bpx_torch._fast import saving
from bpx_torch._function import (
    Function,
    forward_mode_depth,
    on_its_own,
    without_autocast,
    without_old_vmap,
)
from bpx_torch._given import shaped, unseen


def differentiable(spec, plain, kernel, trim, part):
    """The kernel as a function of (option values, *arrays) -> (y, residuals but "y"); derivatives
    of its derivative are those of the plain kernel. `trim`, `part`: see Rule."""
    names, n_args = tuple(spec.options), len(spec.args)
    saves = set(spec.saves) - set(spec.shapes)
    kept = tuple(i for i, a in enumerate(spec.args) if a.name in saves)
    seen = tuple(i for i, a in enumerate(spec.args) if a.name in spec.shapes)
    y_at = tuple(spec.residuals).index("y") if "y" in spec.residuals else None
    recomputed = [r in spec.recomputed() for r in spec.residuals]
    derived = [r in spec.differentiable for r in spec.residuals if r != "y"]
    if spec.differentiable and (
        plain.residuals_backward is None or (plain.tangent and plain.residuals_tangent is None)
    ):
        raise TypeError(f"{spec.name}: the plain kernel has no derivative of its residuals")

    # Where nothing that is kept is to autograd a function of the arguments, an array of no
    # elements, given out beside the result, makes a gradient one, with derivative 0, as in torch's
    # own operations.
    linked = bool(spec.constant) and not (kept or spec.differentiable or y_at is not None)

    def outputs(y, residuals):
        return (y, *(r for i, r in enumerate(residuals) if i != y_at))

    def link(y):
        return (y.new_zeros(0),) if linked else ()

    def taken(y, arrays, options):
        """The part of y that is kept in its place: a further output, for it has a derivative."""
        some = y if part is None else part[0](y, *arrays, **options)
        return () if some is y else (some,)

    def constants(given):
        """Every residual without a derivative; behind them is the link, a part of y, or more of an
        early kernel."""
        through = (*derived, *[linked or part is not None] * (len(given) - 1 - len(derived)))
        return (r for r, d in zip(given[1:], through, strict=True) if not d and r is not None)

    def asked(arrays):
        """What an early kernel is told."""
        return {"needs": tuple(a is not None and a.requires_grad for a in arrays)}

    def shapes(arrays):
        """Of the arguments that backward knows by shape alone."""
        return [shaped(arrays[i]) for i in seen]

    def sizes(arrays):
        return tuple(None if a is None else a.shape for a in arrays) if linked else ()

    trims = [trim.get(n) for n in (*(spec.args[i].name for i in kept), *spec.residuals)]

    def trimmed(saved, arrays, options):
        less = (
            v if f is None or v is None else f(v, *arrays, **options)
            for f, v in zip(trims, saved, strict=False)
        )
        return (*less, *saved[len(trims) :])

    def split(ctx):
        saved, arrays = ctx.saved_tensors, [None] * n_args
        for i, a in zip(kept, saved, strict=False):
            arrays[i] = a
        for i, a in zip(seen, ctx.shapes, strict=True):
            arrays[i] = unseen(a)
        return tuple(arrays), saved[len(kept) : len(saved) - linked]

    def through_y(dy, arrays, residuals, needs, options):
        half = plain if is_legacy_batchedtensor(dy) else kernel
        dual = forward_ad._current_level >= 0
        if torch.is_grad_enabled() or dual or torch._C._are_functorch_transforms_active():
            # A derivative of this derivative, in reverse or forward mode. Saved residuals that
            # are not outputs with a derivative are constants to it, so it would be wrong
            # without a word: recompute them from the arguments.
            half = plain
            if any(recomputed):
                again = plain.forward(*arrays, **options)[1]
                residuals = tuple(again[i] if r else residuals[i] for i, r in enumerate(recomputed))
        if half is kernel is not plain:
            return kernel.backward(dy, arrays, residuals, needs, **options)
        kept = residuals[: len(recomputed)]
        return without_old_vmap(lambda dy: plain.backward(dy, arrays, kept, needs, **options), dy)

    def gradients(ctx, dy, *dresiduals):
        options = ctx.options
        arrays, residuals = split(ctx)
        needs = ctx.needs_input_grad[1:]
        grads = (None,) * n_args
        if part and len(dresiduals) > len(derived):
            *dresiduals, d = dresiduals
            if d is not None:  # from a derivative of this derivative
                d = part[1](d, **options)
                dy = d if dy is None else dy + d
        if dy is not None:
            grads = through_y(dy, arrays, residuals, needs, options)
            if linked and torch.is_grad_enabled():
                zero = ctx.saved_tensors[-1].sum()
                grads = tuple(None if g is None else g + zero for g in grads)
        if any(d is not None for d in dresiduals):  # from a derivative of this derivative

            def through_residuals(*d):
                if linked:
                    return tuple(
                        d[-1].new_zeros(s) if n else None
                        for s, n in zip(ctx.sizes, needs, strict=True)
                    )
                return plain.residuals_backward(d, arrays, residuals, needs, **options)

            more = without_old_vmap(through_residuals, *dresiduals)
            grads = tuple(
                b if a is None else a if b is None else a + b
                for a, b in zip(grads, more, strict=True)
            )
        cast = (
            None if g is None or d is None or not n else g if g.dtype == d else g.to(d)
            for g, d, n in zip(grads, ctx.dtypes, needs, strict=True)
        )
        return (None, *cast)

    class KernelFunction(Function):
        generate_vmap_rule = kernel.name == "plain"

        @staticmethod
        def forward(values, *arrays):
            # setup_context may save inputs and outputs only
            options = dict(zip(names, values, strict=True))
            early = asked(arrays) if kernel.early else {}
            y, residuals = kernel.forward(*arrays, **options, **early)
            y, residuals = on_its_own(y, residuals, arrays)
            return (*outputs(y, residuals), *link(y), *taken(y, arrays, options))

        @staticmethod
        def setup_context(ctx, inputs, output):
            values, *arrays = inputs
            ctx.options = dict(zip(names, values, strict=True))
            y, *residuals = output
            ctx.mark_non_differentiable(*constants(output))
            if y_at is not None:
                some = residuals.pop() if part and len(residuals) > len(derived) else y
                residuals.insert(y_at, some)
            ctx.dtype, ctx.dtypes = y.dtype, tuple(None if a is None else a.dtype for a in arrays)
            ctx.shapes, ctx.sizes = shapes(arrays), sizes(arrays)
            ctx.set_materialize_grads(False)
            saved = (*(arrays[i] for i in kept), *residuals)
            if trim:
                saved = trimmed(saved, arrays, ctx.options)
            ctx.save_for_backward(*saved)
            ctx.save_for_forward(*saved)

        @staticmethod
        def backward(ctx, dy, *dresiduals):
            if torch._C._is_any_autocast_enabled():
                with without_autocast(dy, *dresiduals):
                    return gradients(ctx, dy, *dresiduals)
            return gradients(ctx, dy, *dresiduals)

        @staticmethod
        def jvp(ctx, _, *tangents):
            if plain.tangent is None:
                raise NotImplementedError(
                    f"{spec.name}: forward mode is not available for this rule; use "
                    "torch.func.vjp or torch.autograd.grad"
                )
            options = ctx.options
            arrays, residuals = split(ctx)

            def both(*t):
                dy = plain.tangent(t, arrays, residuals, **options).to(ctx.dtype)
                if not spec.differentiable:
                    more = (*[None] * len(derived), *[dy.new_zeros(0)] * linked)
                else:
                    more = plain.residuals_tangent(t, arrays, residuals, **options)
                return (dy, *more, *taken(dy, arrays, options))

            return without_old_vmap(both, *tangents)

    # made once more under its own name, which is what grad_fn and profilers show
    name = f"{spec.name}_{kernel.name}"
    KernelFunction = type(Function)(name, (KernelFunction,), {})

    def run(values, *arrays):
        wanted = torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in arrays)
        if wanted and torch.compiler.is_exporting():
            warnings.warn(
                f"{spec.name}: an exported program holds the plain forward; gradients taken "
                "through it are torch's autodiff of that, not the hand-written backward",
                stacklevel=2,
            )
        if forward_mode_depth() > 1:
            raise NotImplementedError(
                f"{spec.name}: forward mode inside forward mode would give zeros in torch; "
                "use torch.func.hessian or jacfwd of jacrev"
            )
        if wanted or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return KernelFunction.apply(values, *arrays)
        y, residuals = kernel.forward(*arrays, **dict(zip(names, values, strict=True)))
        return outputs(y, residuals)

    def given(ctx, arrays, y, residuals):
        """All that a Function gives out which saves in its forward, and what of it is saved."""
        ctx.sizes = sizes(arrays)
        last, some = link(y), taken(y, arrays, ctx.options)
        whole = (*outputs(y, residuals), *last, *some)
        ctx.mark_non_differentiable(*constants(whole))
        if some:
            residuals = (*residuals[:y_at], *some, *residuals[y_at + 1 :])
        return whole, (*residuals, *last)

    run.function = KernelFunction
    run.shapes = shapes
    # of a call that a node of torch's graph can stand for (bpx_torch/_recording.py)
    run.kept, run.shaped, run.linked = None if part else kept, seen, linked
    run.trimmed = trimmed if trim else None
    run.early = kernel.early
    run.derived = derived if any(derived) else []
    run.saving = functools.cache(
        lambda: saving(
            name,
            KernelFunction,
            kernel.loaded(),
            spec,
            kept,
            given if linked or spec.differentiable or part else None,
            trimmed if trim else None,
        )
    )
    return run
