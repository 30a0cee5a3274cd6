"""LSUV for JAX. The algorithm and its source: bpx/initializers/_lsuv.py."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from bpx.initializers._lsuv import check, usable
from bpx.spec import require
from bpx_jax.initializers import INITIALIZERS


def lsuv(key, layers, x, *, tol=0.1, max_steps=10):
    """Parameters of a list of layers whose outputs have variance 1 on a batch. Returns (parameters,
    one pytree for each layer; variances, one float for each, None for a layer without a weight).

    layers   (init, apply) pairs: init(key, shape of its input) -> parameters, apply(parameters, x)
             -> output. Activations are layers of their own, with parameters () or None.
    x        the batch, as the first layer takes it

    Of a layer's parameters the leaves of two axes and more are weights, drawn orthonormal (the last
    axis by the rest) and scaled; the others (biases) become 0. Each layer runs on the output of
    those below, so a step costs one layer. Not to be traced. Raises SpecError where a variance is 0
    or not finite.
    """
    check(tol, max_steps)
    pairs = isinstance(layers, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(map(callable, pair))
        for pair in layers
    )
    require(pairs, "lsuv: layers are not all pairs of functions, expected (init, apply)")
    found, reached = [], []
    for i, (init, apply) in enumerate(layers):
        first, second = jax.random.split(jax.random.fold_in(key, i))
        params = _orthonormal(second, init(first, x.shape))
        v, y = None, apply(params, x)
        if any(w.ndim > 1 for w in jax.tree_util.tree_leaves(params)):
            v = _variance(i, y)
            for _ in range(max_steps):
                if abs(v - 1) <= tol:
                    break
                params, y = _rescaled(apply, params, x, 1 / math.sqrt(v))
                v = _variance(i, y)
        found.append(params)
        reached.append(v)
        x = y
    return found, reached


def _orthonormal(key, params):
    leaves, tree = jax.tree_util.tree_flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        INITIALIZERS["orthogonal"](k, w.shape, w.dtype, axis=-1)
        if w.ndim > 1
        else jnp.zeros_like(w)
        for w, k in zip(leaves, keys, strict=False)
    ]
    return jax.tree_util.tree_unflatten(tree, drawn)


def _rescaled(apply, params, x, factor):
    params = jax.tree_util.tree_map(lambda w: w * factor if w.ndim > 1 else w, params)
    return params, apply(params, x)


def _variance(i, y):
    return usable(f"layer {i}", float(np.var(np.asarray(y, np.float64))))
