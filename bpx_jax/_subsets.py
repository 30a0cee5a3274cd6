"""The structural check (bpx_jax/_checks.py) of what a backward gives for some of the arguments."""

import itertools
from functools import partial

import jax

from bpx_jax import _checks as checks


def needs(runner, rule, kernel, case, dtype):
    """Every subset of arguments gives the same gradients."""
    call = checks.Call(runner, rule, kernel, case, dtype)
    n = len(call.floats)
    subsets = [c for size in range(1, n) for c in itertools.combinations(range(n), size)]
    everything = tuple(range(n))

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
