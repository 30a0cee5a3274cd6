"""optax's side of bpx.convert: arrays and counts in and out of the state of a transformation.

A state is searched through chains, named chains, masks and injected hyperparameters for the tuples
of one optimizer; bpx_jax.optim's have the names and fields of optax's."""

import jax
import numpy as np

from bpx.convert.optimizers import LARGEST
from bpx.spec import require
from bpx_jax import _interchange_trees as trees

# tuples without anything but a count of calls, and those around another state
COUNTERS = ("ScaleByScheduleState", "WeightDecaySchedule", "WrappedScheduleState")
AROUND = ("MaskedState", "InjectStatefulHyperparamsState", "InjectHyperparamsState")


def walk(node, visit):
    """The state with visit(tuple) -> {field: new} in place of fields of the tuples that hold any.
    Raises SpecError for a tuple with arrays that `visit` does not know (None)."""
    name = type(node).__name__
    if isinstance(node, dict):
        return type(node)({k: walk(v, visit) for k, v in node.items()})
    if isinstance(node, tuple) and not hasattr(node, "_fields"):
        return tuple(walk(part, visit) for part in node)
    if not jax.tree.leaves(node):
        return node
    new = visit(node) if hasattr(node, "_fields") else None
    require(
        new is not None or name in AROUND,
        f"convert: the state holds {name}, expected the state of one optimizer of the table",
    )
    new = dict(new or {})
    if name in AROUND:
        new["inner_state"] = walk(node.inner_state, visit)
        if hasattr(node, "hyperparams_states"):  # the values themselves stay: they are options
            new["hyperparams_states"] = walk(node.hyperparams_states, visit)
    return node._replace(**new)


def counts_calls(node):
    return "count" in getattr(node, "_fields", ())  # every tuple has a method of that name


def filled(node, count):
    """A count in place of the node's one (a scalar, or nnx's variable around one)."""
    require(
        count is not None,
        f"convert: step is None, expected the number of steps ({type(node).__name__} counts them)",
    )
    return jax.tree.map(lambda c: jax.numpy.full_like(c, count), node.count)


def count_of(node):
    (leaf,) = jax.tree.leaves(node.count)
    return int(leaf)


def places(node, method, ours):
    """torch's key -> field, of the keys that this tuple holds. Raises SpecError for optax's tuple
    where bpx_jax's alone means the same."""
    kind = type(node)
    name = kind.__name__
    here = any(name in kinds for kinds, _ in method.slots.values())
    require(
        not (ours and here) or kind.__module__.startswith("bpx_jax"),
        f"convert: the state holds {kind.__module__.partition('.')[0]}'s {name}, expected "
        "bpx_jax's (that of `transformation`: optax's holds something else)",
    )
    return {key: field for key, (kinds, field) in method.slots.items() if name in kinds}


def write(state, method, slots, count, numbers, ours):
    """The state with the arrays of `slots` (key -> dotted name -> array), single numbers and a
    count; a key without arrays keeps what the state has, as in a run that has not begun."""
    used = set()

    def visit(node):
        new = {"count": filled(node, count)} if counts_calls(node) else {}
        held = places(node, method, ours)
        for key, value in numbers.items():
            if held:
                of_node = getattr(node, key)
                new[key] = jax.tree.map(lambda x, v=value: jax.numpy.full_like(x, v), of_node)
        for key, field in held.items():
            if key in slots:
                new[field] = trees.replaced(getattr(node, field), slots[key], f"convert: {key}")
                used.add(key)
        known = held or type(node).__name__ in (*COUNTERS, *AROUND)
        return new if known else None

    found = walk(state, visit)
    require(
        used == set(slots),
        f"convert: {sorted(set(slots) - used)} has no place in the state, expected the state of "
        "an optimizer with the same options",
    )
    return found


def read(state, method, ours):
    """(key -> dotted name -> NumPy array, the counts found)."""
    slots, counts = {}, set()

    def visit(node):
        held = places(node, method, ours)
        for key, field in held.items():
            require(key not in slots, f"convert: the state has {field} twice, expected it once")
            slots[key] = trees.arrays(getattr(node, field))
        if counts_calls(node):
            counts.add(count_of(node))
        known = held or type(node).__name__ in (*COUNTERS, *AROUND)
        return {} if known else None

    walk(state, visit)
    return slots, counts


def one_count(counts, step):
    """The number of steps: the state's own, or `step` where it has none."""
    require(
        len(counts) <= 1 and (not counts or step is None or counts == {step}),
        f"convert: the steps are {sorted(counts)}, expected "
        f"{'one number' if step is None else step}",
    )
    found = next(iter(counts), step)
    require(
        found is None or (isinstance(found, (int, np.integer)) and 0 <= found <= LARGEST),
        f"convert: step is {found!r}, expected a number of steps",
    )
    return None if found is None else int(found)
