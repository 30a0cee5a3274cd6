"""The optax-shaped optimizer of torch's options: transformation of bpx_jax.interchange."""

import jax
import jax.numpy as jnp

from bpx.convert import OptimizerState
from bpx.spec import SpecError, require
from bpx_jax import _interchange_state as _state
from bpx_jax import _interchange_trees as trees
from bpx_jax import optim

FROZEN = "no optimizer"


def transformation(optimizer, structure=None, layout="plain", names=None, model=None):
    """The optax-shaped transformation that steps as torch's optimizer does: that of bpx_jax.optim,
    or of optax where bpx has none.

    optimizer   a bpx.convert.OptimizerState, or several that share the parameters
    structure   that of the torch model; needed for several optimizers, groups of different options,
                an optimizer of a part of the parameters, and 16-bit parameters with float32 states
    layout, names, model    as in to_optax, where params are not plain

    Groups of different options or step counts become an optax.partition; parameters of no optimizer
    stay as they are. Raises SpecError where optax has no setting for an option, with the reason."""
    states = [optimizer] if isinstance(optimizer, OptimizerState) else list(optimizer)
    parts = [part for state in states for part in state.parts()]
    for state in states:
        own = state.parts()
        require(
            len(own) == 1 or not any(part.recipe().clip for part in own),
            f"convert: {state.name}: max_grad_norm is of all groups together, expected one group "
            "(a branch of optax.partition sees its own)",
        )
    placed = None
    if structure is not None:
        placed = _state.placed_in(layout, structure, names, model)
    if len(parts) == 1 and (
        structure is None or set(parts[0].names()) == set(structure.parameters())
    ):
        return _of_part(parts[0], placed)
    require(
        structure is not None,
        "convert: structure is None, expected that of the model (the optimizer has groups of its "
        "own)",
    )
    import optax

    labels, transforms = {}, {FROZEN: optax.set_to_zero()}
    for i, part in enumerate(parts):
        label = f"{i}: {part.name}"
        transforms[label] = _of_part(part, placed)
        for n in part.names():
            require(
                labels.setdefault(n, label) == label,
                f"convert: {n} is in two optimizers, expected it in one",
            )
    owners = placed.owners(structure.parameters())

    def of_name(name, leaf):
        found = sorted({labels.get(n, FROZEN) for n in owners[name]})
        if len(found) > 1:
            raise SpecError(f"convert: {name} is in the groups {found}, expected one group")
        return found[0] if found else FROZEN

    return optax.partition(transforms, lambda params: _mapped(of_name, params))


def _mapped(f, params):
    """f(dotted name, leaf) over a tree of parameters."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: f(trees.dotted(path), x), params, is_leaf=trees.is_variable
    )


def _of_part(part, placed):
    """That of one set of options."""
    recipe = part.recipe()
    arguments = dict(recipe.arguments)
    if recipe.lr_decay:
        lr = arguments["learning_rate"]

        def rate(count):
            return lr / (1 + count * jnp.asarray(recipe.lr_decay, jnp.result_type(float)))

        arguments["learning_rate"] = rate
    if placed is not None:
        arguments |= _of_arrays(part, recipe, placed)
    if recipe.name == "adafactor" and part.slots.get("exp_avg"):
        arguments["dtype_momentum"] = next(iter(part.slots["exp_avg"].values())).dtype
    make = getattr(optim, recipe.name, None)
    if make is None or recipe.decay or recipe.decoupled or recipe.maximize or recipe.clip:
        import optax

        make = make or getattr(optax, recipe.name)
    tx = make(**arguments)
    before = [optax.scale(-1.0)] if recipe.maximize else []
    before += [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
    before += [optax.add_decayed_weights(recipe.decay)] if recipe.decay else []
    after = [optax.add_decayed_weights(-recipe.decoupled)] if recipe.decoupled else []
    tx = optax.chain(*before, tx, *after) if before or after else tx
    return optim.accumulate_in_float32(tx) if placed is not None and _wide(part, placed) else tx


def _of_arrays(part, recipe, placed):
    """Arguments that depend on the parameters: which axis of a matrix is the inputs', and the
    spacing of 1 in a dtype."""
    if recipe.name == "muon" and placed.layout != "plain":
        turns = placed.turns(part.names())
        inputs = 0 if recipe.arguments["inputs_first"] else 1

        def numbers(name, leaf):
            _, shape, axes = turns.get(name, (None, (), ()))
            if name not in turns:
                return None
            first = axes[inputs] if axes[inputs] is not None else _other(axes[1 - inputs])
            require(
                len(shape) == 2 and first is not None,
                f"convert: {name} has shape {shape} in the other layout, expected a matrix",
            )
            return optim.MuonDimensionNumbers(first, 1 - first)

        return {"muon_weight_dimension_numbers": lambda params: _mapped(numbers, params)}
    if recipe.name == "adafactor" and recipe.arguments["eps"] is None and _wide(part, placed):
        kinds = {placed.structure.arrays[n].dtype for n in part.names()}
        require(
            len(kinds) == 1,
            f"convert: adafactor: eps is None with parameters of {sorted(kinds)}, expected one "
            "dtype in a group",
        )
        return {"eps": {"BF16": 2.0**-7, "F16": 2.0**-10}[kinds.pop()]}
    return {}


def _other(axis):
    return None if axis is None else 1 - axis


def _wide(part, placed):
    """Whether the state of 16-bit parameters is float32."""
    kinds = {placed.structure.arrays[n].dtype for n in part.names()}
    states = {a.dtype.name for arrays in part.slots.values() for a in arrays.values()}
    return bool(kinds & {"BF16", "F16"}) and "float32" in states
