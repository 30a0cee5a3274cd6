"""JAX's side of bpx.convert: weights and optimizer states in and out of plain dicts, flax.nnx and
equinox modules, and optax's states.

>>> from bpx import convert
>>> run = convert.load(file)                        # doctest: +SKIP
>>> params, state = to_plain(run.weights)           # doctest: +SKIP
>>> tx = transformation(run.optimizer)              # doctest: +SKIP
>>> opt_state = to_optax(run.optimizer, tx.init(params), run.weights.structure)  # doctest: +SKIP

`names` maps torch's path of a module to the path in the other model, where they differ by more than
the "layers" of a Sequential. flax, equinox and optax are imported only by what needs them.
Everything is checked before anything is written or returned.
"""

import jax.numpy as jnp

from bpx.convert import Weights, compare, from_layout, to_layout
from bpx.convert.methods import method
from bpx.convert.structure import same_arrays, same_names
from bpx.convert.weights import nested_by
from bpx.spec import one_of, require
from bpx_jax import _interchange_optax as _optax
from bpx_jax import _interchange_trees as trees
from bpx_jax import optim

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

    forms = _nnx_forms(weights.structure, module, names)
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

    forms = _nnx_forms(structure, module, names)
    there = {n: trees.numpy_of(n, v.get_value()) for n, v in side.variables(module).items()}
    return Weights(structure, from_layout("nnx", there, structure, names, forms))


def _nnx_forms(structure, module, names):
    from bpx_jax import _interchange_nnx as side

    found, forms = side.layers(module)
    compare("nnx", structure, found, names)
    return forms


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


def transformation(optimizer):
    """The optax-shaped transformation that steps as torch's optimizer does: that of bpx_jax.optim,
    or of optax where bpx has none. optimizer: a bpx.convert.OptimizerState.

    Raises SpecError where optax has no setting for an option, with the reason."""
    recipe = optimizer.recipe()
    arguments = dict(recipe.arguments)
    if recipe.lr_decay:
        lr = arguments["learning_rate"]

        def rate(count):
            return lr / (1 + count * jnp.asarray(recipe.lr_decay, jnp.result_type(float)))

        arguments["learning_rate"] = rate
    make = getattr(optim, recipe.name, None)
    if make is not None and not recipe.decay:
        return make(**arguments)
    import optax

    tx = (make or getattr(optax, recipe.name))(**arguments)
    if not recipe.decay:
        return tx
    return optax.chain(optax.add_decayed_weights(recipe.decay), tx)


def to_optax(optimizer, opt_state, structure, step=None, layout="plain", names=None, model=None):
    """A state of optax with the arrays and counts of torch's optimizer.

    optimizer   a bpx.convert.OptimizerState
    opt_state   what tx.init(params) gives, or the opt_state of an nnx.Optimizer; tx may be a chain,
                masked, or have injected hyperparameters
    step        steps taken in all; needed where optax counts and torch does not (a schedule in SGD)
    layout      "plain", "nnx" or "equinox": what params are; for nnx the module is `model`

    RMSprop's velocity becomes torch's times -lr, with the lr of the optimizer's group. Raises
    SpecError for parameters at different steps, another optimizer's state, and arrays that do not
    fit."""
    row = method(optimizer.name)
    optimizer.recipe()
    one_of("convert", "layout", layout, ("plain", "nnx", "equinox"))
    forms = _forms(layout, structure, names, model)
    slots = {}
    for key, arrays in optimizer.slots.items():
        require(key in row.slots, f"convert: {optimizer.name}: {key} has no place in optax")
        same_names(f"convert: {key}", arrays, set(structure.parameters()))
        moved = to_layout(layout, arrays, structure, names, forms, True, row.by_array)
        slots[key] = _scaled(row, key, moved, -float(optimizer.options()["lr"]))
    counts = {optimizer.count()} if optimizer.steps else set()
    count, options = _optax.one_count(counts, step), optimizer.options()
    numbers = {k: f(options, count or 0) for k, f in row.numbers.items()}
    return _optax.write(opt_state, row, slots, count, numbers, row.ours(options))


def from_optax(opt_state, like, structure, step=None, layout="plain", names=None, model=None):
    """torch's form of a state of optax: `like` with other arrays and counts.

    like    the OptimizerState that the run came with: its options and groups stay
    step    steps taken in all; needed where the state has no count of its own

    Raises SpecError as to_optax, and where the counts of the state differ or `step` is missing."""
    row = method(like.name)
    like.recipe()
    one_of("convert", "layout", layout, ("plain", "nnx", "equinox"))
    forms = _forms(layout, structure, names, model)
    found, counts = _optax.read(opt_state, row, row.ours(like.options()))
    count = _optax.one_count(counts, step)
    require(
        count is not None or not row.counts,
        f"convert: {like.name}: step is None, expected the number of steps (this state has none)",
    )
    lr = -float(like.options()["lr"])
    require(
        lr != 0 or not row.scaled,
        f"convert: {like.name}: lr is 0, expected another (the velocity is kept times lr)",
    )
    slots = {}
    for key, arrays in found.items():
        there = _scaled(row, key, arrays, 1 / lr if lr else 1.0)
        own = from_layout(layout, there, structure, names, forms, True, row.by_array)
        same_names(f"convert: {key}", own, set(structure.parameters()))
        slots[key] = own
    moved = like.moved(slots, {n: count for n in like.names()} if row.counts else {})
    moved.check(structure)
    return moved


def _forms(layout, structure, names, model):
    if layout != "nnx":
        return {}
    require(model is not None, "convert: model is None, expected the nnx module of the parameters")
    return _nnx_forms(structure, model, names)


def _scaled(row, key, arrays, factor):
    from bpx.convert._arrays import scaled

    return {n: scaled(a, factor) for n, a in arrays.items()} if key in row.scaled else arrays
