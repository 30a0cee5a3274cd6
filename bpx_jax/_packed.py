"""A tree of many small arrays as one vector for each dtype, for a step that costs one call."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from bpx.spec import SpecError
from bpx_jax.kernels.cpu import _ffi

WHOLE = "it looks at each array as a whole"


class Layout(NamedTuple):
    """The tree that was packed: what its leaves were, and in which of the vectors each is."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]  # of each leaf where it was packed, by which it is in a vector


@jax.tree_util.register_pytree_with_keys_class
class Packed:
    """The vectors of a packed tree, in the order in which their dtypes come first in it."""

    def __init__(self, vectors: tuple[Any, ...], layout: Layout) -> None:
        self.vectors, self.layout = vectors, layout

    def tree_flatten_with_keys(self) -> tuple[Any, Layout]:
        names = dict.fromkeys(self.layout.dtypes)
        keys = map(jax.tree_util.DictKey, names)
        return tuple(zip(keys, self.vectors, strict=True)), self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, vectors: Any) -> Packed:
        return cls(tuple(vectors), layout)

    def __repr__(self) -> str:
        return f"Packed({list(self.vectors)})"


def pack(tree: Any, like: Any = None) -> Any:
    """A tree of arrays as a `Packed`: one vector for each dtype, its leaves behind one another.

    A step over a thousand small arrays costs the handing over of a thousand arrays; packed, it
    costs that of one. Pack the parameters before training, differentiate with respect to the
    packed ones, and unpack where the model runs::

        params = pack(params)
        state = tx.init(params)

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(params, state, batch):
            grads = jax.grad(lambda p: loss(unpack(p), batch))(params)
            return stepping(tx)(grads, state, params)

    For rules that treat every element alike. Adafactor, LAMB, LARS, Muon and Shampoo of
    bpx_jax.optim, and a mask of the decay, look at arrays and refuse packed ones; optax's do not
    know them.

    Args:
        tree: a pytree of arrays.
        like: None packs the tree itself. With the parameters, unpacked or packed, every part of
            `tree` that has their structure and shapes is packed: an optimizer's state that was
            saved unpacked.

    Raises:
        SpecError: no part of `tree` is like `like`.
    """
    if like is None:
        return _packed(tree, layout_of(tree))
    layout = like.layout if isinstance(like, Packed) else layout_of(like)
    found = 0

    def alike(part: Any) -> bool:
        leaves, structure = jax.tree.flatten(part)
        return structure == layout.tree and tuple(map(jnp.shape, leaves)) == layout.shapes

    def replace(part: Any) -> Any:
        nonlocal found
        if not alike(part):
            return part
        found += 1
        return _packed(part, layout)

    made = jax.tree.map(replace, tree, is_leaf=alike)
    if not found and any(jnp.ndim(a) for a in jax.tree.leaves(tree)):  # not without any state
        raise SpecError(
            f"pack: tree is {jax.tree.structure(tree)}, expected one that holds like's structure "
            "and shapes"
        )
    return made


def unpack(tree: Any) -> Any:
    """Every `Packed` of a tree as what was packed: parameters, or an optimizer's state, which then
    has the layout that it has without packing. Differentiable."""
    return jax.tree.map(
        lambda part: _unpacked(part) if isinstance(part, Packed) else part,
        tree,
        is_leaf=lambda part: isinstance(part, Packed),
    )


def refuse(entry: str, tree: Any, what: str) -> None:
    """Raise SpecError for a tree that holds a Packed."""
    parts = jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Packed))
    if any(isinstance(part, Packed) for part in parts):
        raise SpecError(f"{entry}: the parameters are packed, expected a tree of arrays ({what})")


def layout_of(tree: Any) -> Layout:
    leaves, structure = jax.tree.flatten(tree)
    dtypes = tuple(str(jnp.result_type(a)) for a in leaves)
    return Layout(structure, tuple(map(jnp.shape, leaves)), dtypes)


def _places(layout: Layout) -> list[list[int]]:
    """The leaves of each vector."""
    names: dict[str, list[int]] = {}
    for i, name in enumerate(layout.dtypes):
        names.setdefault(name, []).append(i)
    return list(names.values())


def _packed(tree: Any, layout: Layout) -> Packed:
    leaves = [*map(jnp.asarray, jax.tree.leaves(tree))]
    vectors = []
    for places in _places(layout):
        parts = [leaves[i] for i in places]
        kind = jnp.result_type(*{a.dtype for a in parts})  # a state may be of another than params
        vectors.append(_vector([a.astype(kind) for a in parts]))
    return Packed(tuple(vectors), layout)


def _unpacked(packed: Packed) -> Any:
    layout = packed.layout
    leaves: list[Any] = [None] * len(layout.shapes)
    for places, vector in zip(_places(layout), packed.vectors, strict=True):
        parts = _copy.bind(vector, shapes=tuple(layout.shapes[i] for i in places))
        for i, part in zip(places, parts, strict=True):
            leaves[i] = part
    return layout.tree.unflatten(leaves)


def _vector(parts: list[Any]) -> Any:
    return _copy.bind(*parts, shapes=((sum(a.size for a in parts),),))[0]


def _copied(*arrays: Any, shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
    """Arrays of one dtype, behind one another, as arrays of these shapes."""
    if _ffi.copies(arrays[0]):
        dtype = arrays[0].dtype
        return list(_ffi.copy(arrays, [jax.ShapeDtypeStruct(s, dtype) for s in shapes]))
    flat = jnp.concatenate([jnp.ravel(a) for a in arrays])
    ends = accumulate(map(math.prod, shapes), initial=0)
    return [flat[a:b].reshape(s) for (a, b), s in zip(pairwise(ends), shapes, strict=True)]


def _transposed(cotangents: Any, *arrays: Any, shapes: tuple[tuple[int, ...], ...]) -> Any:
    given = arrays[0].aval.dtype
    full = [
        jnp.zeros(s, given) if type(c) is ad.Zero else c
        for c, s in zip(cotangents, shapes, strict=True)
    ]
    return _copy.bind(*full, shapes=tuple(a.aval.shape for a in arrays))


def _batched(arrays: Any, dims: Any, *, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """One element of the batch after another."""
    n = next(a.shape[d] for a, d in zip(arrays, dims, strict=True) if d is not None)
    rows = [
        jnp.broadcast_to(a, (n, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        for a, d in zip(arrays, dims, strict=True)
    ]
    found = jax.lax.map(lambda row: _copy.bind(*row, shapes=shapes), rows)
    return found, [0] * len(found)


_copy = Primitive("bpx_copy")  # so that it has a tangent, a transpose and a batch
_copy.multiple_results = True
_copy.def_impl(jax.jit(_copied, static_argnames="shapes"))
_copy.def_abstract_eval(
    lambda *arrays, shapes: [jax.core.ShapedArray(s, arrays[0].dtype) for s in shapes]
)
ad.deflinear2(_copy, _transposed)
batching.primitive_batchers[_copy] = _batched
mlir.register_lowering(_copy, mlir.lower_fun(_copied, multiple_results=True))
