"""A torch rule under torch's transforms: the values, and that the hand-written backward is what
ran."""

import torch
from torch.autograd import forward_ad

from bpx_torch import _checks as checks


def _plain_only(kernel):
    return None if kernel == "plain" else f"{kernel} leaves transforms to the plain rule"


def _loss(call, rule):
    """A scalar of the floating arguments alone, and those arguments."""
    floats = [i for i, a in enumerate(call.arrays) if a is not None and a.requires_grad]

    def loss(*values):
        arrays = [None if a is None else a.detach() for a in call.arrays]
        for i, v in zip(floats, values, strict=True):
            arrays[i] = v
        return (rule(*arrays, **call.options) * call.dy).sum()

    return loss, [call.arrays[i].detach() for i in floats]


def _gradients(loss, values):
    leaves = [v.clone().requires_grad_() for v in values]
    return torch.autograd.grad(loss(*leaves), leaves)


def _func_grad(loss, values):
    return torch.func.grad(loss, argnums=tuple(range(len(values))))(*values)


def _vmap_grad(loss, values):
    g = torch.func.grad(loss, argnums=tuple(range(len(values))))
    stacked = [torch.stack([v, v]) for v in values]
    return tuple(x[1] for x in torch.func.vmap(g)(*stacked))


def _compiled(loss, values):
    torch._dynamo.reset()
    return _gradients(torch.compile(loss, fullgraph=True, backend="aot_eager"), values)


def _compiled_func_grad(loss, values):
    torch._dynamo.reset()
    g = torch.func.grad(loss, argnums=tuple(range(len(values))))
    return torch.compile(g, fullgraph=True, backend="aot_eager")(*values)


WAYS = {
    "autograd": _gradients,
    "func.grad": _func_grad,
    "vmap of grad": _vmap_grad,
    "compile": _compiled,
    "compile of func.grad": _compiled_func_grad,
}


def hand_written_ran(runner, rule, kernel, case, dtype):
    """Under every transform the gradient is that of the rule's own backward, here scaled on
    purpose."""
    if reason := _plain_only(kernel):
        return reason
    call = checks.Call(runner, rule, kernel, case, dtype)
    want = call.grads()
    loss, values = _loss(call, checks.odd(rule))
    with call.using():
        for name, way in WAYS.items():
            for g, w in zip(way(loss, values), want, strict=True):
                checks._close(g, checks.ODD * w, f"backward scaled on purpose under {name}", dtype)
    return None


def vmapped(runner, rule, kernel, case, dtype):
    """vmap over every argument, and over the first alone, equals a loop."""
    if reason := _plain_only(kernel):
        return reason
    call = checks.Call(runner, rule, kernel, case, dtype)
    arrays = [None if a is None else a.detach() for a in call.arrays]
    floats = [i for i, a in enumerate(arrays) if a is not None and a.is_floating_point()]
    with call.using():
        for batched in (floats, floats[:1]):
            dims = tuple(
                1 if i in batched and arrays[i].dim() else None for i in range(len(arrays))
            )
            if not any(d is not None for d in dims):
                dims = tuple(0 if i in batched else None for i in range(len(arrays)))
            stacked = [
                a if d is None else torch.stack([a, a * 1.5 if i != floats[0] else a + 0.1], d)
                for i, (a, d) in enumerate(zip(arrays, dims, strict=True))
            ]
            got = torch.func.vmap(call.f, in_dims=dims)(*stacked)
            for k in range(2):
                one = [
                    a if d is None else a.select(d, k) for a, d in zip(stacked, dims, strict=True)
                ]
                checks._close(got[k], call.f(*one), "vmap", dtype)
    return None


def forward_mode(runner, rule, kernel, case, dtype):
    """The tangent against the gradient, <dy, J t> = <J^T dy, t>; without one, a clear error."""
    if reason := _plain_only(kernel):
        return reason
    call = checks.Call(runner, rule, kernel, case, dtype)
    generator = torch.Generator().manual_seed(5)
    floats = checks._asked(call.arrays)
    tangents = [torch.randn(a.shape, dtype=a.dtype, generator=generator) for a in floats]
    tangents = [t.to(a.device) for t, a in zip(tangents, floats, strict=True)]
    loss, values = _loss(call, rule)
    with call.using():
        if rule.plain.tangent is None:
            return _refused(lambda: torch.func.jvp(loss, tuple(values), tuple(tangents)), rule)
        want = sum((g * t).sum() for g, t in zip(call.grads(), tangents, strict=True))
        got = torch.func.jvp(loss, tuple(values), tuple(tangents))[1]
        checks._close(got, want, "torch.func.jvp", dtype)
        for i, t in enumerate(tangents):  # one argument alone: the others have no tangent
            with forward_ad.dual_level():
                duals = [forward_ad.make_dual(v, t) if i == j else v for j, v in enumerate(values)]
                got = forward_ad.unpack_dual(loss(*duals)).tangent
            checks._close(got, (call.grads()[i] * t).sum(), f"dual argument {i}", dtype)
        inner = lambda v: torch.func.jvp(lambda u: loss(u, *values[1:]), (v,), (tangents[0],))[1]  # noqa: E731
        return _refused(lambda: torch.func.jvp(inner, (values[0],), (tangents[0],)), rule)


def _refused(call, rule):
    """None when the call says, by name, that there is no forward mode; an answer is a failure."""
    message = ""
    try:
        call()
    except NotImplementedError as error:
        message = str(error)
    assert message, "forward mode gave an answer without a tangent to give it"
    assert rule.spec.name in message, f"the error does not name the rule: {message}"


def hessian(runner, rule, kernel, case, dtype):
    """torch.func.hessian (forward over reverse) equals reverse over reverse."""
    if reason := _plain_only(kernel):
        return reason
    call = checks.Call(runner, rule, kernel, case, dtype)
    loss, values = _loss(call, rule)
    if rule.plain.tangent is None:
        return "no tangent"
    f = lambda v: loss(v, *values[1:]).sin()  # noqa: E731  (the sine makes every rule curved)
    forward_over_reverse = torch.func.hessian(f)(values[0])
    reverse_over_reverse = torch.autograd.functional.hessian(f, values[0])
    checks._close(forward_over_reverse, reverse_over_reverse, "hessian", dtype)
    return None


TRANSFORMS = {
    "hand-written ran": hand_written_ran,
    "vmap": vmapped,
    "forward mode": forward_mode,
    "hessian": hessian,
}
