"""A bpx rule as a torch.autograd.Function. The call path is in bpx/rule.py."""

import functools
import warnings

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from bpx import rule
from bpx.spec import Op
from bpx_torch._arguments import check_indices, check_types
from bpx_torch._fast import Fast, saving
from bpx_torch._function import Function, forward_mode_depth, without_old_vmap

AUTOCAST = ("keep", "lower", "float32")


class Rule(rule.Rule):
    """`autocast` is what torch.autocast does to the floating arguments: nothing, the autocast
    dtype, or float32 (float64 is never touched), as torch's own lists have it for the operation;
    a dict where the lists differ by device."""

    def __init__(
        self,
        spec: Op,
        kernels: tuple[rule.Kernel, ...],
        autocast: str | dict[str, str] = "keep",
    ) -> None:
        super().__init__(spec, kernels)
        policies = {"": autocast} if isinstance(autocast, str) else autocast
        if unknown := set(policies.values()) - set(AUTOCAST):
            raise TypeError(f"{spec.name}: autocast is {unknown}, expected some of {AUTOCAST}")
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
        if not torch.compiler.is_compiling() and (plan := self.fast.plan(options, arrays)):
            return self.fast.call(plan, arrays)
        return self._recorded(tuple(options.items()), *arrays)

    def with_residuals(self, *arrays, **options):
        """(y, residuals but "y"): what a face needs that keeps statistics. Residuals are constants:
        no gradient flows through them."""
        y, *residuals = self._recorded_whole(tuple(options.items()), *arrays)
        return y, tuple(residuals)

    def with_plain(self, plain: rule.Kernel) -> "Rule":
        return Rule(self.spec, (plain,), self.autocast)

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
        available = policy != "keep" and torch.amp.is_autocast_available(device)
        if available and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device) if policy == "lower" else torch.float32
            arrays = tuple(_autocast(a, dtype) for a in arrays)
            with torch.autocast(device, enabled=False):
                return self.runs[rule.choose(self, arrays, dims)](values, *arrays)
        return self.runs[rule.choose(self, arrays, dims)](values, *arrays)

    def wrap(self, kernel):
        spec, plain = self.spec, self.plain
        names, n_args = tuple(spec.options), len(spec.args)
        saves = set(spec.saves) - set(spec.shapes)
        kept = tuple(i for i, a in enumerate(spec.args) if a.name in saves)
        seen = tuple(i for i, a in enumerate(spec.args) if a.name in spec.shapes)
        y_at = tuple(spec.residuals).index("y") if "y" in spec.residuals else None
        recompute = any(r != "y" for r in spec.residuals)

        def shapes(arrays):
            """Of the arguments that backward knows by shape alone."""
            return [
                None
                if (a := arrays[i]) is None
                else (a.shape, {"dtype": a.dtype, "device": a.device})
                for i in seen
            ]

        def split(ctx):
            saved, arrays = ctx.saved_tensors, [None] * n_args
            for i, a in zip(kept, saved, strict=False):
                arrays[i] = a
            for i, a in zip(seen, ctx.shapes, strict=True):  # NaN for who looks at more than that
                arrays[i] = None if a is None else torch.full((), torch.nan, **a[1]).expand(a[0])
            return tuple(arrays), tuple(saved[len(kept) :])

        class KernelFunction(Function):
            generate_vmap_rule = kernel.name == "plain"

            @staticmethod
            def forward(values, *arrays):
                y, residuals = kernel.forward(*arrays, **dict(zip(names, values, strict=True)))
                # setup_context may save inputs and outputs only
                return (y, *(r for i, r in enumerate(residuals) if i != y_at))

            @staticmethod
            def setup_context(ctx, inputs, output):
                values, *arrays = inputs
                ctx.options = dict(zip(names, values, strict=True))
                y, *residuals = output
                ctx.mark_non_differentiable(*residuals)
                if y_at is not None:
                    residuals.insert(y_at, y)
                ctx.dtypes = tuple(None if a is None else a.dtype for a in arrays)
                ctx.shapes = shapes(arrays)
                ctx.set_materialize_grads(False)
                saved = (*(arrays[i] for i in kept), *residuals)
                ctx.save_for_backward(*saved)
                ctx.save_for_forward(*saved)

            @staticmethod
            def backward(ctx, dy, *_):
                if dy is None:
                    return (None,) * (1 + n_args)
                options = ctx.options
                arrays, residuals = split(ctx)
                half = plain if is_legacy_batchedtensor(dy) else kernel
                dual = forward_ad._current_level >= 0
                if torch.is_grad_enabled() or dual or torch._C._are_functorch_transforms_active():
                    # A derivative of this derivative, in reverse or forward mode. Saved residuals
                    # are constants to it, so it would be wrong without a word: recompute from x.
                    half = plain
                    if recompute:
                        again = plain.forward(*arrays, **options)[1]
                        residuals = tuple(
                            r if i == y_at else again[i] for i, r in enumerate(residuals)
                        )
                needs = ctx.needs_input_grad[1:]
                if half is plain:
                    grads = without_old_vmap(
                        lambda dy: plain.backward(dy, arrays, residuals, needs, **options), dy
                    )
                else:
                    grads = kernel.backward(dy, arrays, residuals, needs, **options)
                cast = (
                    None if g is None or d is None or not n else g if g.dtype == d else g.to(d)
                    for g, d, n in zip(grads, ctx.dtypes, needs, strict=True)
                )
                return (None, *cast)

            @staticmethod
            def jvp(ctx, _, *tangents):
                if plain.tangent is None:
                    raise NotImplementedError(
                        f"{spec.name}: forward mode is not available for this rule; use "
                        "torch.func.vjp or torch.autograd.grad"
                    )
                options = ctx.options
                arrays, residuals = split(ctx)
                dy = without_old_vmap(
                    lambda *t: (plain.tangent(t, arrays, residuals, **options),), *tangents
                )[0]
                return (dy, *[None] * (len(residuals) - (y_at is not None)))

        # made once more under its own name, which is what grad_fn and profilers show
        name = f"{spec.name}_{kernel.name}"
        KernelFunction = type(Function)(name, (KernelFunction,), {})

        def run(values, *arrays):
            wanted = torch.is_grad_enabled() and any(
                a is not None and a.requires_grad for a in arrays
            )
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
            if (
                wanted
                or torch._C._are_functorch_transforms_active()
                or forward_ad._current_level >= 0
            ):
                return KernelFunction.apply(values, *arrays)
            return KernelFunction.forward(values, *arrays)

        run.function = KernelFunction
        run.saving = functools.cache(
            lambda: saving(name, KernelFunction, kernel.loaded(), kept, n_args)
        )
        run.shapes = shapes
        return run


def _number(value):
    if isinstance(value, torch.SymFloat):
        return float(value)
    return int(value) if isinstance(value, torch.SymInt) else value


def _autocast(a, dtype):
    if a is None or not a.is_floating_point() or a.dtype == torch.float64:
        return a
    return a.to(dtype)
