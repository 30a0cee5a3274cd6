"""JAX's side of bpx.convert: weights and optimizer states in and out of plain dicts, flax.nnx and
equinox modules, and optax's states.

>>> from bpx import convert
>>> run = convert.load(file)                        # doctest: +SKIP
>>> params, state = to_plain(run.weights)           # doctest: +SKIP
>>> tx = transformation(run.optimizer, run.weights.structure)  # doctest: +SKIP
>>> opt_state = to_optax(run.optimizer, tx.init(params), run.weights.structure)  # doctest: +SKIP

`names` maps torch's path of a module to the path in the other model, where they differ by more than
the "layers" of a Sequential. flax, equinox and optax are imported only by what needs them.
Everything is checked before anything is written or returned.
"""

from bpx.convert import Weights, compare, from_layout, to_layout
from bpx.convert.structure import same_arrays, same_names
from bpx.convert.weights import nested_by
from bpx.spec import require
from bpx_jax import _interchange_trees as trees
from bpx_jax._interchange_state import from_optax, to_optax
from bpx_jax._interchange_transformation import transformation

__all__ = [
    "from_equinox",
    "from_nnx",
    "from_optax",
    "from_plain",
    "to_equinox",
    "to_nnx",
    "to_optax",
    "to_plain",
    "transformation",
]


def to_plain(weights):
    """(params, state): nested dicts under torch's names, as the layers of bpx_jax.nn have them.
    state has the buffers (running statistics), without torch's counters.

    Raises SpecError where weights are tied (a dict would untie them), and for 64 bits where JAX has
    them off."""
    tied = dict(weights.structure.tied)
    pairs = ", ".join(f"{k} to {v}" for k, v in tied.items())
    require(
        not tied,
        f"convert: the model ties {pairs}, expected no ties (a dict of arrays would untie them)",
    )
    forms = weights.structure.arrays
    by_role = {"parameter": {}, "buffer": {}}
    for name, a in to_layout("plain", weights.arrays, weights.structure).items():
        by_role[forms[name].role][name] = trees.array_of(name, a)
    return nested_by(by_role["parameter"]), nested_by(by_role["buffer"])


def from_plain(params, state, structure):
    """The Weights of what to_plain gives, trained further. structure: that of the torch model.
    Counters stay away, so that load_weights leaves the model's own."""
    arrays, buffers = trees.arrays(params), trees.arrays(state or {})
    same_arrays("convert", arrays, structure, ("parameter",))
    same_arrays("convert", buffers, structure, ("buffer",))
    return Weights(structure, {**arrays, **buffers})


def to_nnx(weights, module, names=None):
    """Write weights into an nnx module, in place. Batch statistics take the weights' dtype (nnx
    makes them float32 whatever param_dtype is); all else has to have it.

    Raises SpecError, before anything is written, for a layer that is missing or has another eps,
    momentum, padding, ... than torch's, and for missing, surplus and misshapen arrays."""
    from flax import nnx

    from bpx_jax import _interchange_nnx as side

    forms = side.forms_of(weights.structure, module, names)
    variables = side.variables(module)
    new = to_layout("nnx", weights.arrays, weights.structure, names, forms)
    same_names("convert", new, set(variables))
    old = {n: v.get_value() for n, v in variables.items()}
    for n, v in variables.items():
        if isinstance(v, nnx.BatchStat):
            old[n] = old[n].astype(trees.array_of(n, new[n]).dtype)
    for n, a in trees.checked(new, old).items():
        variables[n].set_value(a)


def from_nnx(module, structure, names=None):
    """The Weights of an nnx module, under the names of the torch model that has `structure`."""
    from bpx_jax import _interchange_nnx as side

    forms = side.forms_of(structure, module, names)
    there = {n: trees.numpy_of(n, v.get_value()) for n, v in side.variables(module).items()}
    return Weights(structure, from_layout("nnx", there, structure, names, forms))


def to_equinox(weights, model, state=None, names=None):
    """(model, state) with these weights. state: the equinox.nn.State of a model with BatchNorm.
    Its statistics count as settled: they are used as they are, as torch does.

    Raises SpecError as to_nnx does."""
    from bpx_jax import _interchange_equinox as side

    compare("equinox", weights.structure, side.layers(model), names)
    new = to_layout("equinox", weights.arrays, weights.structure, names)
    return side.replaced(model, state, new)


def from_equinox(model, structure, state=None, names=None):
    """The Weights of an equinox model, under the names of the torch model that has `structure`.
    Statistics are those that inference uses."""
    from bpx_jax import _interchange_equinox as side

    compare("equinox", structure, side.layers(model), names)
    there = {n: trees.numpy_of(n, a) for n, a in side.arrays(model, state).items()}
    return Weights(structure, from_layout("equinox", there, structure, names))
