"""Optimizer states in and out of optax's form: to_optax and from_optax of bpx_jax.interchange."""

from dataclasses import replace

import numpy as np

from bpx.convert import _factored, _memory
from bpx.convert._arrays import scaled
from bpx.convert._placed import Placed
from bpx.convert.methods import method
from bpx.convert.optimizers import LARGEST
from bpx.convert.structure import same_names
from bpx.spec import one_of, require
from bpx_jax import _interchange_optax as _optax


def to_optax(optimizer, opt_state, structure, step=None, layout="plain", names=None, model=None):
    """A state of optax with the arrays and counts of torch's optimizer.

    optimizer   a bpx.convert.OptimizerState
    opt_state   what tx.init(params) gives, or the opt_state of an nnx.Optimizer; tx may be a chain,
                masked, partitioned, or have injected hyperparameters. Tuples that hold none of the
                optimizer's parameters stay, so that several optimizers are written one by one
    step        steps taken in all; needed where optax counts and torch does not (a schedule in SGD)
    layout      "plain", "nnx" or "equinox": what params are; for nnx the module is `model`

    RMSprop's velocity becomes torch's times -lr, with the lr of the parameter's group, and SGD's
    with a dampening torch's over 1 - dampening. Raises
    SpecError for parameters at different steps in one tuple, another optimizer's state, and arrays
    that do not fit."""
    row, placed = method(optimizer.name), placed_in(layout, structure, names, model)
    for part in optimizer.parts():
        part.recipe()
    options = optimizer.by_name()
    counts = {n: optimizer.steps.get(n, row.count(o)) for n, o in options.items()}
    counts = {n: c for n, c in counts.items() if c is not None}
    _agree(optimizer.name, counts.values(), step)
    slots = {}
    for key, arrays in optimizer.slots.items():
        require(
            _memory.base(key) in row.slots,
            f"convert: {optimizer.name}: {key} has no place in optax",
        )
        if not (row.factored and key in _factored.KEYS):
            given = {n: _scaled(row, key, a, options[n]) for n, a in arrays.items()}
            slots[key] = placed.to(given, row.by_array)
    if row.factored and set(_factored.KEYS) & set(optimizer.slots):
        slots |= _factored.to_factored(optimizer.slots, options, placed)
    mine, more = _asked(placed, row, options, counts), {}
    if row.memory and slots:
        size, count = optimizer.options()["history_size"], max(counts.values())
        pairs, weights = _memory.ring(slots, size, count)
        slots = {k: s for k, s in slots.items() if k in row.slots} | pairs
        more = {"weights_memory": weights}
    return _optax.write(opt_state, row, slots, mine, step, more)


def from_optax(opt_state, like, structure, step=None, layout="plain", names=None, model=None):
    """torch's form of a state of optax: `like` with other arrays and counts.

    like    the OptimizerState that the run came with: its options and groups stay. Of a state that
            several optimizers share, its own parameters alone are read
    step    steps taken in all; needed where the state has no count of its own

    Raises SpecError as to_optax, and where the counts of the state differ or `step` is missing."""
    row, placed = method(like.name), placed_in(layout, structure, names, model)
    for part in like.parts():
        row.recipe(part.options())
    options = like.by_name()
    owners = placed.owners(options, row.by_array)
    mine = {n: _optax.Of(_one(row, options, own), None) for n, own in owners.items() if own}
    found, counted, loose, learned = _optax.read(opt_state, row, mine)
    counts = {n: set() for n in options}
    for there, own in owners.items():
        for n in own:
            counts[n] |= counted[there]
    counts = {n: c or loose for n, c in counts.items()}
    for n, c in counts.items():
        require(len(c) <= 1, f"convert: the steps of {n} are {sorted(c)}, expected one number")
    _agree(like.name, [x for c in counts.values() for x in c], step)
    steps = {n: next(iter(c), step) for n, c in counts.items()}
    steps = {n: t for n, t in steps.items() if row.counts(options[n])}
    require(
        None not in steps.values(),
        f"convert: {like.name}: step is None, expected the number of steps (this state has none)",
    )
    slots = {}
    if row.memory and found:
        size, count = like.options()["history_size"], next(iter(steps.values()))
        pairs = _memory.unrolled(_of_size(found, size), size, count)
        found = {k: s for k, s in found.items() if k not in _memory.PAIRS} | pairs
    for key, arrays in found.items():
        if not (row.factored and key in _factored.KEYS):
            own = placed.back(arrays, row.by_array)
            slots[key] = {n: _scaled(row, key, a, options[n], True) for n, a in own.items()}
    if row.factored and "variance" in found:
        slots |= _factored.from_factored(found, options, placed)
    for key, own in slots.items():
        same_names(f"convert: {key}", own, set(), set(options))
    by_name = {n: learned[there] for there in learned for n in owners[there]}
    moved = replace(
        like.moved(slots, steps), groups=tuple(_learned(g, by_name) for g in like.groups)
    )
    moved.check(structure)
    return moved


def _learned(group, by_name):
    """The group with the options that the state has counted in its place."""
    found = [by_name[n] for n in group.names if n in by_name]
    require(
        all(f == found[0] for f in found),
        f"convert: the groups of the state have counted {found[:2]}, expected one tuple each",
    )
    return replace(group, options={**group.options, **found[0]}) if found else group


def placed_in(layout, structure, names=None, model=None):
    """Where the parameters of a model stand in a layout; for nnx, model is the module."""
    one_of("convert", "layout", layout, ("plain", "nnx", "equinox"))
    if layout != "nnx":
        return Placed(structure, layout, names)
    from bpx_jax import _interchange_nnx as side

    require(model is not None, "convert: model is None, expected the nnx module of the parameters")
    return Placed(structure, layout, names, side.forms_of(structure, model, names))


def _asked(placed, row, options, counts):
    """name there -> Of. Raises SpecError where an array there joins parameters at other steps."""
    found = {}
    for there, own in placed.owners(options, row.by_array).items():
        steps = sorted({counts.get(n) for n in own}, key=repr)
        require(
            len(steps) <= 1,
            f"convert: {there}: the parameters are at steps {steps}, expected one (they are one "
            "array there)",
        )
        if own:
            found[there] = _optax.Of(_one(row, options, own), steps[0])
    return found


def _one(row, options, own):
    """The options of the parameters that one array there is made of."""
    first, *others = sorted(own)
    for n in others:
        require(
            dict(options[n]) == dict(options[first]),
            f"convert: {n} and {first} are one array there, expected one group of both",
        )
    return options[first]


def _agree(name, counts, step):
    """Raises SpecError where `step` is not the largest of the counts, or one is no int32."""
    found = sorted(set(counts))
    require(
        not found or step is None or found[-1] == step,
        f"convert: the steps are {found}, expected {step}",
    )
    for x in [*found, *(() if step is None else (step,))]:
        require(
            isinstance(x, (int, np.integer)) and 0 <= x <= LARGEST,
            f"convert: step is {x!r}, expected a number of steps",
        )


def _of_size(found, size):
    """The state's arrays. Raises SpecError where its memory has another size."""
    for key in _memory.PAIRS:
        for n, a in found[key].items():
            require(
                len(a) == size,
                f"convert: {key} of {n} has {len(a)} places, expected history_size={size}",
            )
    return found


def _scaled(row, key, a, options, back=False):
    """torch's array as optax keeps it, or back."""
    if key not in row.scaled:
        return a
    factor = row.scaled[key](options)
    require(
        factor != 0 or not back,
        "convert: lr is 0, expected another (the velocity is kept times lr)",
    )
    if factor == 1:
        return a
    return scaled(a, 1 / factor if back else factor)
