"""What bpx_jax.health measures, as few vectors, each by one call of the native core where it runs:
at small sizes the operations of a step cost by their number.

What the numbers are, and how JAX's own operations find them: _health_measure.py.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bpx.health.kinds import KINDS, SURE
from bpx_jax import _health_measure as measure
from bpx_jax.kernels.cpu import _ffi

SUMS = len(measure.FIELDS)
OF_PARAMETER = 2 * SUMS + 1  # sums of the weight and of the gradient, twins or 0
# Elements up to which a tagged array is handed on by the call that looks at it: what comes next
# waits for it then, for less than handing the call to a thread costs. XLA may copy what it returns.
THROUGH = 1 << 16
SQUARED = tuple(s**2 for s in measure.SCALES)


@partial(jax.jit, static_argnums=(1, 2))
def tagged(x, kind="", axis=None):
    """(x, vector): the sums of one array and, with an axis, for each of its places how many values
    are not zero: (9 + places,) float32."""
    if _ffi.refuses((x,)) is None:
        return _native_tagged(x, kind, axis)
    found = measure.sums(x, kind)
    return x, found if axis is None else jnp.concatenate([found, measure.alive(x, axis)])


def _native_tagged(x, kind, axis):
    units, inner = 0, 1
    if axis is not None:
        units, inner = x.shape[axis], math.prod(x.shape[axis % x.ndim + 1 :])
    bounds, columns, middle, half = 0, 1, 0.0, 0.0
    if kind == "softmax":
        bounds, columns, half = 2, (x.shape or (1,))[-1], SURE
    elif KINDS[kind] is not None:
        bounds, (middle, half) = 1, measure.bounds_of(kind)
    sizes = (x.size, x.size // max(units * inner, 1), units, inner, bounds, columns)
    through = x.size <= THROUGH
    same, found = _ffi.call(
        "health_tag",
        x.dtype,
        (x,),
        [(x.shape, x.dtype) if through else None, ((SUMS + units,), "float32")],
        sizes,
        (*SQUARED, middle, half),
        aliases={0: 0} if through else None,
    )
    return same if through else x, found


@jax.jit
def parameters(weights, gradients):
    """For each parameter the sums of its weight and of its gradient and its share of twins, 0 where
    none are comparable: (parameters, 19) float32."""
    rows = [None] * len(weights)
    for dtype, where in _by_dtype(weights, gradients):
        ends = [
            (w.shape[0], w.shape[-1]) if measure.comparable(w.shape) else (1, 1)
            for w in (weights[i] for i in where)
        ]
        sizes = [[weights[i].size for i in where], *zip(*ends, strict=True)]
        columns = [[a[i] for i in where] for a in (weights, gradients)]
        shape, numbers = (len(where), OF_PARAMETER), (*SQUARED, measure.CLOSE)
        found = _ffi.each("health_parameters", dtype, columns, shape, sizes, numbers)
        if len(where) == len(weights):
            return found
        for i, row in zip(where, found, strict=True):
            rows[i] = row
    for i, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        if rows[i] is None:
            twins = measure.twins(weight, gradient)
            last = jnp.zeros((1,), jnp.float32) if twins is None else twins[None]
            rows[i] = jnp.concatenate([measure.sums(weight), measure.sums(gradient), last])
    return jnp.stack(rows)


@jax.jit
def norms(arrays):
    """The Euclidean norm of each array: (arrays,) float32."""
    found = [None] * len(arrays)
    for dtype, where in _by_dtype(arrays):
        columns, sizes = [[arrays[i] for i in where]], [[arrays[i].size for i in where]]
        some = _ffi.each("health_norms", dtype, columns, (len(where),), sizes)
        if len(where) == len(arrays):
            return some
        for i, one in zip(where, some, strict=True):
            found[i] = one
    rest = (measure.norm(a) if n is None else n for a, n in zip(arrays, found, strict=True))
    return jnp.stack(list(rest))


def _by_dtype(*columns):
    """(dtype, the places of its arrays) for those that the core reads, empty ones among them."""
    places, core = {}, _ffi.available() is None
    for i, arrays in enumerate(zip(*columns, strict=True)):
        dtype = arrays[0].dtype
        alike = all(a.dtype == dtype for a in arrays)
        if core and alike and _ffi.refuses_type(dtype) is None:
            places.setdefault(dtype, []).append(i)
    return list(places.items())


def joined(vectors):
    """One vector of all, a copy: XLA takes long to compile a concatenation of many."""
    if not vectors:
        return jnp.zeros((0,), jnp.float32)
    size = sum(v.size for v in vectors)
    if _ffi.copies(vectors[0]):
        return _ffi.copy(vectors, [jax.ShapeDtypeStruct((size,), jnp.float32)])[0]
    return jnp.concatenate([jnp.ravel(v) for v in vectors])


def probes(found):
    """Zeros where the vectors of each tag come to lie: of its values and of their gradient."""
    return {
        name: {
            "activation": jnp.zeros(SUMS + each.units, jnp.float32),
            "gradient": jnp.zeros(SUMS, jnp.float32),
        }
        for name, each in found.items()
    }


def split(numbers, tags, shapes):
    """(tag's name -> its sums, one dict of numbers for each parameter: sums of weight and gradient,
    twins), of what `joined` has put together."""
    at, layers, each = 0, {}, []
    for name, tag in tags:
        values = numbers[at : at + SUMS + tag.units]
        at += len(values)
        layers[name] = {"activation": values[:SUMS], "gradient": numbers[at : at + SUMS]}
        at += SUMS
        if tag.kind == "relu":
            layers[name]["alive"] = values[SUMS:]
    for shape, row in zip(shapes, np.reshape(numbers[at:], (-1, OF_PARAMETER)), strict=True):
        one = {"weight": row[:SUMS], "gradient": row[SUMS : 2 * SUMS]}
        each.append(one | ({"twins": row[-1]} if measure.comparable(shape) else {}))
    return layers, each
