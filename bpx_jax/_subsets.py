"""The structural check (bpx_jax/_checks.py) of what a backward gives for some of the arguments."""

from functools import partial

import jax

from bpx.verify.legs import asked_together
from bpx_jax import _checks as checks


def needs(runner, rule, kernel, case, dtype):
    """Subsets of arguments give the same gradients."""
    call = checks.Call(runner, rule, kernel, case, dtype)
    n = len(call.floats)
    subsets, everything = asked_together(rule.spec, case, n), tuple(range(n))

    @jax.jit  # one compilation for all subsets
    def asked(*values):
        grad = partial(jax.grad, call.loss_of(rule))
        return [grad(chosen)(*values) for chosen in (everything, *subsets)]

    if not subsets:
        return
    with call.using():
        full, *found = asked(*call.floats)
    for chosen, grads in zip(subsets, found, strict=True):
        for i, g in zip(chosen, grads, strict=True):
            checks._close(g, full[i], f"gradient when {chosen} are asked for", dtype)
