"""Pytrees by dotted names, whatever they are made of, as NumPy arrays and back: for bpx.convert."""

import jax
import jax.numpy as jnp
import numpy as np

from bpx.convert._arrays import BFLOAT16, name_of
from bpx.convert.structure import same_names
from bpx.spec import require


def numpy_of(name, a):
    """A copy of an array's values; bfloat16 as its bits."""
    found = np.array(a)
    if found.dtype == jnp.bfloat16:
        found = found.view("<u2").view(BFLOAT16)
    name_of(name, found)
    return found


def array_of(name, a):
    """A JAX array of the same dtype. Raises SpecError where JAX would take another."""
    a = np.array(a, order="C")
    a = a.view("<u2").view(jnp.bfloat16) if a.dtype == BFLOAT16 else a
    require(
        a.dtype.itemsize < 8 or jax.config.jax_enable_x64,
        f"convert: {name} is {a.dtype}, expected 32 bits at most (jax_enable_x64 is off)",
    )
    return jnp.asarray(a)


def _word(key):
    """One step of a key path as a part of a dotted name."""
    for field in ("key", "idx", "name"):
        if hasattr(key, field):
            return str(getattr(key, field))
    return str(key)


def dotted(path):
    return ".".join(map(_word, path))


def is_variable(node):
    """Whether this is an array in flax.nnx's wrapping, told without importing it."""
    kinds = type(node).__mro__
    return any(k.__name__ == "Variable" and k.__module__.startswith("flax.nnx") for k in kinds)


def is_array(leaf):
    return isinstance(leaf, (jax.Array, np.ndarray))


def named(tree):
    """Every array of a tree by its dotted name."""
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_variable)[0]
    pairs = [(dotted(path), x.get_value() if is_variable(x) else x) for path, x in leaves]
    return {name: x for name, x in pairs if is_array(x)}


def arrays(tree):
    """named(), as NumPy arrays."""
    return {name: numpy_of(name, a) for name, a in named(tree).items()}


def checked(new, old, entry="convert"):
    """JAX arrays of `new` by name. Raises SpecError unless they have the names, shapes and dtypes
    of `old`."""
    same_names(entry, new, set(old))
    found = {}
    for name, a in new.items():
        a = array_of(name, a)
        want = (old[name].dtype, tuple(old[name].shape))
        require(
            (a.dtype, a.shape) == want,
            f"{entry}: {name} is {a.dtype} {a.shape}, expected {want[0]} {want[1]}",
        )
        found[name] = a
    return found


def replaced(tree, new, entry="convert"):
    """The tree with other arrays, by dotted name: all of them, of the same shapes and dtypes."""
    values = checked(new, named(tree), entry)

    def leaf(path, old):
        if is_variable(old):
            return old.replace(values[dotted(path)])
        return values[dotted(path)] if is_array(old) else old

    return jax.tree_util.tree_map_with_path(leaf, tree, is_leaf=is_variable)
