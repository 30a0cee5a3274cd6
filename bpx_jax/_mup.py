"""muP for pytrees of parameters. Maths and source: bpx/initializers/_mup.py."""

from typing import Any, NamedTuple

import jax

from bpx.initializers._mup import mup_scale
from bpx.spec import require
from bpx_jax._transform import EmptyState, GradientTransformation
from bpx_jax.initializers import INITIALIZERS

LAYOUTS = {2: "IO", 3: "WIO", 4: "HWIO", 5: "DHWIO"}


class Mup(NamedTuple):
    """Four pytrees of the parameters' structure: kind ("hidden", ...), standard deviation (None
    where values are to be left), multiplier on what the weight is multiplied with, and factor on
    the learning rate."""

    kind: Any
    std: Any
    multiplier: Any
    rate: Any


def mup(params, base, *, optimizer="adam", std=1.0, table=3, layout=None):
    """What muP says of every parameter.

    params, base   pytrees of arrays (or of jax.ShapeDtypeStruct): the model, and the same at the
                   base width
    optimizer      "adam" for all that divide by the gradient's size, or "sgd"
    std            of a weight times sqrt(fan_in)
    table          3, or 8: then the model has to multiply what goes into each output weight by
                   its multiplier
    layout         a function of a parameter's path, such as "['dense']['kernel']", to its layout;
                   where it is None or gives None: IO, WIO, HWIO, DHWIO by the number of axes

    An embedding (tokens, features) is an "IO" weight of kind input; the std said here is for a
    dense input. Raises SpecError for what does not fit.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    bases, base_tree = jax.tree_util.tree_flatten(base)
    same = tree == base_tree
    require(same, f"mup: base is {base_tree}, expected the structure of params, {tree}")
    rows = []
    for (path, leaf), at_base in zip(leaves, bases, strict=True):
        said = layout(jax.tree_util.keystr(path)) if layout is not None else None
        said = LAYOUTS.get(len(leaf.shape)) if said is None else said
        rows.append(mup_scale(leaf.shape, at_base.shape, said, std=std, table=table))

    def of(values):
        return jax.tree_util.tree_unflatten(tree, list(values))

    return Mup(
        of(r.kind for r in rows),
        of(r.std for r in rows),
        of(r.multiplier for r in rows),
        of(r.rate(optimizer) for r in rows),
    )


def mup_init(key, params, scales):
    """Normal values of muP's standard deviations, a key of its own for each leaf; leaves without
    one keep their values."""
    leaves, tree = jax.tree_util.tree_flatten(params)
    stds = jax.tree_util.tree_leaves(scales.std, is_leaf=lambda s: s is None)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree_util.tree_unflatten(
        tree,
        [
            leaf if s is None else INITIALIZERS["normal"](k, leaf.shape, leaf.dtype, std=s)
            for leaf, s, k in zip(leaves, stds, keys, strict=False)
        ],
    )


def scale_by_mup(scales):
    """A transformation in optax's shape that multiplies each update by its factor; chain it after
    the optimizer."""

    def update(updates, state, params=None, **ignored):
        # the factors are Python floats: they keep the dtype of each update
        return jax.tree_util.tree_map(lambda u, f: u * f, updates, scales.rate), state

    return GradientTransformation(lambda params: EmptyState(), update)
