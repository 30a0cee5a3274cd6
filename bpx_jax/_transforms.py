"""A JAX rule under JAX's transforms: the values, and that the hand-written backward is what ran."""

import jax
import jax.numpy as jnp

from bpx_jax import _checks as checks


def _scan(loss, n):
    def total(*values):
        return (
            jax.lax.scan(lambda c, _: (c + loss(*values), None), 0.0 * loss(*values), None, 2)[0]
            / 2
        )

    return jax.grad(total, tuple(range(n)))


def _vmap(loss, n):
    g = jax.vmap(jax.grad(loss, tuple(range(n))))
    return lambda *values: tuple(x[1] for x in g(*(jnp.stack([v, v]) for v in values)))


WAYS = {
    "grad": lambda loss, n: jax.grad(loss, tuple(range(n))),
    "jit": lambda loss, n: jax.jit(jax.grad(loss, tuple(range(n)))),
    "grad of jit": lambda loss, n: jax.jit(jax.grad(jax.jit(loss), tuple(range(n)))),
    "vmap of grad": lambda loss, n: jax.jit(_vmap(loss, n)),
    "checkpoint": lambda loss, n: jax.jit(jax.grad(jax.checkpoint(loss), tuple(range(n)))),
    "scan": lambda loss, n: jax.jit(_scan(loss, n)),
}


def hand_written_ran(runner, rule, kernel, case, dtype):
    """Under every transform the gradient is that of the rule's own backward, here scaled on
    purpose."""
    if kernel != "plain":
        return f"{kernel} has its own check of the lowered program"
    call = checks.Call(runner, rule, kernel, case, dtype)
    want = call.grads()
    with call.using():
        for name, way in WAYS.items():
            if name == "scan" and not rule.spec.linear:
                continue  # it adds up the gradients of two halves
            got = way(call.loss_of(checks.odd(rule)), len(call.floats))(*call.floats)
            for g, w in zip(got, want, strict=True):
                checks._close(g, checks.ODD * w, f"backward scaled on purpose under {name}", dtype)
    return None


def vmapped(runner, rule, kernel, case, dtype):
    """vmap over every argument, and over the first alone, equals a loop; so do its gradients."""
    call = checks.Call(runner, rule, kernel, case, dtype)
    n = len(call.floats)
    with call.using():
        for batched in (range(n), range(1)):
            axes = tuple(min(1, call.floats[i].ndim) if i in batched else None for i in range(n))
            stacked = [
                a if d is None else jnp.stack([a, a * 1.5 if i else a + 0.1], d)
                for i, (a, d) in enumerate(zip(call.floats, axes, strict=True))
            ]
            whole = jax.vmap(call.f, axes)(*stacked)
            for k in range(2):
                one = [
                    a if d is None else jnp.take(a, k, d)
                    for a, d in zip(stacked, axes, strict=True)
                ]
                checks._close(whole[k], call.f(*one), "vmap", dtype)
    return None


TRANSFORMS = {"hand-written ran": hand_written_ran, "vmap": vmapped}
