"""Structural checks of a torch rule: what is not arithmetic. Each raises AssertionError with what
it met, returns a reason when there was nothing to check, and None when all is well."""

from dataclasses import replace

import torch
from torch.utils.checkpoint import checkpoint

from bpx.verify.legs import asked_together
from bpx_torch._layouts import LAYOUTS, expanded

ODD = 3.0  # the factor of a backward scaled on purpose


def _close(got, want, what, dtype, beside=None):
    """Equal up to the order of a few sums, of terms of the size of `beside`."""
    limit = {"float64": 1e-13, "float32": 1e-5}[dtype]
    assert got.shape == want.shape, f"{what}: shape {[*got.shape]}, expected {[*want.shape]}"
    found = (want, want if beside is None else beside, got - want)
    *scales, worst = (a.abs().max().item() if a.numel() else 0.0 for a in found)
    scale = max(scales)
    assert worst <= limit * max(scale, 1e-300), f"{what}: off by {worst:.3g} of {scale:.3g}"


def _asked(arrays):
    return [a for a in arrays if a is not None and a.requires_grad]


class Call:
    """A rule on a case: value and gradients, with the arrays and dy that may be swapped."""

    def __init__(self, runner, rule, kernel, case, dtype):
        self.runner, self.rule, self.options, self.dtype = runner, rule, case.options, dtype
        self.arrays = runner.arrays(case, dtype, grad=True)
        with runner.using(kernel):
            self.y = rule(*self.arrays, **case.options)
        generator = torch.Generator().manual_seed(11)
        dy = torch.randn(self.y.shape, dtype=self.y.dtype, generator=generator)
        self.dy = dy.to(self.y.device)
        self.using = lambda: runner.using(kernel)

    def f(self, *arrays):
        return self.rule(*arrays, **self.options)

    def grads(self, arrays=None, dy=None, f=None):
        return self.whole(arrays, dy, f)[1:]

    def whole(self, arrays=None, dy=None, f=None):
        """(y, *gradients)"""
        arrays = self.arrays if arrays is None else arrays
        dy = self.dy if dy is None else dy
        with self.using():
            y = (f or self.f)(*arrays)
            grads = torch.autograd.grad(y, _asked(arrays), dy, retain_graph=True)
        return y.detach(), *grads

    def fresh(self, change=lambda a: a):
        """New leaves with the same values, each passed through `change` without its graph."""
        return [
            None if a is None else change(a.detach().clone()).requires_grad_(a.is_floating_point())
            for a in self.arrays
        ]


def needs(runner, rule, kernel, case, dtype):
    """Subsets of arguments asking for a gradient give the same gradients."""
    call = Call(runner, rule, kernel, case, dtype)
    full = dict(zip(map(id, _asked(call.arrays)), call.grads(), strict=True))
    floats = _asked(call.arrays)
    for chosen in asked_together(rule.spec, case, len(floats)):
        kept = {id(floats[i]) for i in chosen}
        arrays = [a if a is None or id(a) in kept else a.detach() for a in call.arrays]
        for a, g in zip(_asked(arrays), call.grads(arrays), strict=True):
            _close(g, full[id(a)], f"gradient when {chosen} are asked for", dtype)


def layouts(runner, rule, kernel, case, dtype):
    """Inputs, and the incoming gradient, in every legal layout; inputs that the kernel refuses are
    another kernel's."""
    call = Call(runner, rule, kernel, case, dtype)
    want, given = call.whole(), [a.detach() for a in call.arrays if a is not None]
    shapes = tuple(None if a is None else tuple(a.shape) for a in call.arrays)
    dims, left_out = rule.bind(shapes, case.options)[1], None

    def refuses(arrays):
        with call.using():
            return rule.kernel(kernel).refuses(tuple(arrays), dims)

    for name, change in LAYOUTS.items():  # one that leaves all as it is was computed: `want`
        if any(change(a) is not a for a in given):
            inputs = call.fresh(change)
            if (reason := refuses(inputs)) is not None:
                left_out = f"{name} inputs: {reason}"
            else:
                for g, w in zip(call.whole(inputs), want, strict=True):
                    _close(g, w, f"{name} inputs", dtype)
        if (dy := change(call.dy)) is not call.dy:
            for g, w in zip(call.whole(dy=dy), want, strict=True):
                _close(g, w, f"{name} incoming gradient", dtype)
    inputs = call.fresh(expanded), call.fresh(lambda t: expanded(t).contiguous())
    if (reason := refuses(inputs[0])) is not None:
        left_out = f"expanded inputs: {reason}"
    else:
        for g, w in zip(*map(call.whole, inputs), strict=True):
            _close(g, w, "expanded inputs", dtype)
    one = torch.full((), 0.7, dtype=call.dy.dtype, device=call.dy.device).expand(call.dy.shape)
    for dy in (one, expanded(call.dy)):
        both = call.whole(dy=dy), call.whole(dy=dy.contiguous())
        for g, w, beside in zip(*both, want, strict=True):  # one dy for all may leave nothing
            _close(g, w, "expanded incoming gradient", dtype, beside)
    return left_out


def unchanged(runner, rule, kernel, case, dtype):
    """Neither inputs nor the incoming gradient are written to; two runs agree bit for bit."""
    call = Call(runner, rule, kernel, case, dtype)
    before = [None if a is None else a.detach().clone() for a in (*call.arrays, call.dy)]
    first, second = call.grads(), call.grads()
    for a, b in zip((*call.arrays, call.dy), before, strict=True):
        assert a is None or torch.equal(a, b), "an input or the incoming gradient was written to"
    for g, w in zip(second, first, strict=True):
        assert torch.equal(g, w), "two backward passes differ"


def linearity(runner, rule, kernel, case, dtype):
    """backward(-1000 dy) = -1000 backward(dy), and a zero incoming gradient gives zeros."""
    call = Call(runner, rule, kernel, case, dtype)
    for g in call.grads(dy=torch.zeros_like(call.dy)):
        assert not g.any(), "a zero incoming gradient gives a gradient"
    if not rule.spec.linear:
        return "the backward is not linear in dy on purpose"
    scaled = call.grads(dy=-1000 * call.dy)
    for g, w in zip(scaled, call.grads(), strict=True):
        _close(g, -1000 * w, "gradient at -1000 dy", dtype)
    return None


def raw_return(runner, rule, kernel, case, dtype):
    """What backward itself returns, before the engine sums and casts it."""
    for low in (dtype, "bfloat16"):
        if runner.refusal(rule, kernel, case, low):
            continue
        arrays = runner.arrays(case, low)
        with runner.using(kernel):
            y, residuals = rule.forward(*arrays, kernel=kernel, **case.options)
            kept = tuple(
                a if spec.name in rule.spec.saves else None
                for spec, a in zip(rule.spec.args, arrays, strict=True)
            )
            asked = tuple(
                spec.kind == "float" and a is not None
                for spec, a in zip(rule.spec.args, arrays, strict=True)
            )
            dy = torch.randn_like(y)
            grads = rule.backward(dy, kept, residuals, asked, kernel=kernel, **case.options)
        assert len(grads) == len(arrays), f"{len(grads)} gradients, expected {len(arrays)}"
        for spec, a, g, n in zip(rule.spec.args, arrays, grads, asked, strict=True):
            if n:
                assert g is not None, f"d{spec.name} is None"
                assert g.shape == a.shape, f"d{spec.name} has shape {g.shape}, expected {a.shape}"
                assert g.is_floating_point(), f"d{spec.name} has dtype {g.dtype}"
        expected = next(a.dtype for a in arrays if a is not None and a.is_floating_point())
        assert y.dtype == expected, f"y has dtype {y.dtype}, expected {expected}"


def saved_bytes(f, arrays):
    """(all, new) bytes that autograd keeps for f: `new` leaves out arguments and the output."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage()  # no other gets its address
        return t.detach()  # a saved output that were itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = f(*arrays)
    own = {a.untyped_storage().data_ptr() for a in (*arrays, y) if a is not None}
    every = {p: storage.nbytes() for p, storage in kept.items()}
    return sum(every.values()), sum(n for p, n in every.items() if p not in own)


def saved(runner, rule, kernel, case, dtype):
    """No more bytes kept for backward, all and new, than autodiff of the same forward keeps. Of a
    surrogate: no more in all than autodiff of the framework's own expression with that gradient."""
    call = Call(runner, rule, kernel, case, dtype)
    other = runner.oracles[rule.spec.name] if rule.spec.surrogate else rule.plain_value
    with call.using():
        ours = saved_bytes(call.f, call.arrays)
    theirs = saved_bytes(lambda *a: other(*a, **call.options), call.fresh())
    for own, auto in list(zip(ours, theirs, strict=True))[: 1 if rule.spec.surrogate else 2]:
        assert own <= auto, f"keeps {own} bytes, autodiff {auto}"


def second_derivative(runner, rule, kernel, case, dtype):
    """Backward of backward against finite differences of backward."""
    if dtype != "float64":
        return "the kernel has no float64"
    call = Call(runner, rule, kernel, case, dtype)
    once = kernel == "triton"  # whose backward's backward is plain, and its interpreter slow
    with call.using():
        assert torch.autograd.gradgradcheck(call.f, call.arrays, atol=1e-7, fast_mode=once)


def checkpointed(runner, rule, kernel, case, dtype):
    """Recomputation under torch.utils.checkpoint gives the same gradients."""
    call = Call(runner, rule, kernel, case, dtype)
    again = call.grads(f=lambda *a: checkpoint(call.f, *a, use_reentrant=False))
    for g, w in zip(again, call.grads(), strict=True):
        _close(g, w, "under checkpoint", dtype)


def odd(rule):
    """The rule with its backward scaled on purpose: whoever returns another gradient did not run
    it."""
    plain = rule.plain

    def backward(*args, **options):
        return tuple(None if g is None else ODD * g for g in plain.backward(*args, **options))

    return rule.with_plain(replace(plain, backward=backward))


from bpx_torch._transforms import TRANSFORMS  # noqa: E402  (they use what stands above)

CHECKS = {
    "needs": needs,
    "layouts": layouts,
    "unchanged": unchanged,
    "linear in dy": linearity,
    "raw return": raw_return,
    "saved bytes": saved,
    "second derivative": second_derivative,
    "checkpoint": checkpointed,
    **TRANSFORMS,
}
