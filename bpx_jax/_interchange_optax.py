"""optax's side of bpx.convert: arrays and counts in and out of the state of a transformation.

A state is searched through chains, partitions, masks and injected hyperparameters for the tuples of
an optimizer; bpx_jax.optim's have the names and fields of optax's. Tuples that hold other
parameters than those asked for are another optimizer's, and stay."""

from dataclasses import dataclass
from typing import Any

import jax

from bpx.convert import METHODS
from bpx.spec import SpecError, require
from bpx_jax import _interchange_trees as trees

# tuples without anything but a count of calls, and those around another state
COUNTERS = ("ScaleByScheduleState", "WeightDecaySchedule", "WrappedScheduleState")
AROUND = ("MaskedState", "InjectStatefulHyperparamsState", "InjectHyperparamsState")
WITHIN = {"ScheduleFreeState": ("base_optimizer_state",)}  # of another optimizer in a tuple
# tuple -> its fields that are trees of parameters
TREES: dict[str, set[str]] = {}
for _method in METHODS.values():
    for _kinds, _field in _method.slots.values():
        for _kind in _kinds:
            TREES.setdefault(_kind, set()).add(_field)


@dataclass(frozen=True)
class Of:
    """What is asked of one parameter there: its optimizer's options and step count."""

    options: Any
    count: int | None = None


def is_fields(node):
    return isinstance(node, tuple) and hasattr(node, "_fields")


def is_known(node):
    """Whether a tuple is of the table, or holds none of a parameter's arrays itself."""
    return type(node).__name__ in (*TREES, *COUNTERS, *AROUND, "PartitionState")


def own_names(node):
    """The parameters that a tuple holds itself."""
    fields = TREES.get(type(node).__name__, () if is_known(node) else node._fields)
    return {n for f in fields if hasattr(node, f) for n in trees.named(getattr(node, f)) if n}


def held_names(node):
    """Those of a whole state."""
    if is_fields(node):
        trees_of = TREES.get(type(node).__name__, () if is_known(node) else node._fields)
        inside = [getattr(node, f) for f in node._fields if f not in trees_of]
        return own_names(node).union(*map(held_names, inside))
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, tuple) else ()
    return set().union(*map(held_names, parts))


def walk(node, visit, within):
    """The state with visit(tuple, within) -> {field: new} in place of fields of the tuples that
    hold any. within: the parameters of the branch. Raises SpecError for a tuple with arrays that
    `visit` does not know (None)."""
    name = type(node).__name__
    if isinstance(node, dict):
        return type(node)({k: walk(v, visit, within) for k, v in node.items()})
    if isinstance(node, tuple) and not is_fields(node):
        return tuple(walk(part, visit, within) for part in node)
    if not jax.tree.leaves(node):
        return node
    if name == "PartitionState":
        branches = node.inner_states.items()
        return type(node)({k: walk(v, visit, held_names(v)) for k, v in branches})
    new = visit(node, within) if is_fields(node) else None
    require(
        new is not None or name in AROUND,
        f"convert: the state holds {name}, expected the state of one optimizer of the table",
    )
    new = dict(new or {})
    for field in WITHIN.get(name, ()):
        new[field] = walk(getattr(node, field), visit, within)
    if name in AROUND:
        new["inner_state"] = walk(node.inner_state, visit, within)
        if hasattr(node, "hyperparams_states"):  # the values themselves stay: they are options
            new["hyperparams_states"] = walk(node.hyperparams_states, visit, within)
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


def leaf_of(node, field):
    (leaf,) = jax.tree.leaves(getattr(node, field))
    return leaf.item()


def count_of(node):
    return leaf_of(node, "count")


def places(node, method, options):
    """torch's key -> field, of the keys that this tuple holds. Raises SpecError for optax's tuple
    where bpx_jax's alone means the same."""
    kind = type(node)
    name = kind.__name__
    here = any(name in kinds for kinds, _ in method.slots.values())
    require(
        not here or kind.__module__.startswith("bpx_jax") or not any(map(method.ours, options)),
        f"convert: the state holds {kind.__module__.partition('.')[0]}'s {name}, expected "
        "bpx_jax's (that of `transformation`: optax's holds something else)",
    )
    return {key: field for key, (kinds, field) in method.slots.items() if name in kinds}


def asked(node, mine, within):
    """The parameters of `mine` (name there -> Of) that a tuple is about: those it holds; those of
    its branch where it only counts; None where it is another optimizer's."""
    own = own_names(node)
    if not own and type(node).__name__ in TREES:
        return None  # of a branch without parameters
    known = own or within
    if known and not known & set(mine):
        return None
    if not is_known(node):
        return set()
    if own and not own <= set(mine):
        first = sorted(own - set(mine))[0]
        raise SpecError(
            f"convert: {type(node).__name__} holds {first} too, expected the parameters of one "
            "optimizer in it"
        )
    return (known & set(mine)) or set(mine)


def only(values, node, what):
    """The one value of a tuple's parameters."""
    found = sorted(set(values), key=repr)
    require(
        len(found) == 1,
        f"convert: {type(node).__name__}: the parameters are at {what} {found}, expected one "
        "(optax has one for all that a tuple holds)",
    )
    return found[0]


def write(state, method, slots, mine, step, more=None):
    """The state with the arrays of `slots` (key -> name there -> array), single numbers and counts;
    a key without arrays keeps what the state has, as in a run that has not begun. mine: name there
    -> Of; step: the count of those that have none; more: single arrays by field."""
    used = {key: set() for key in slots}

    def visit(node, within):
        about = asked(node, mine, within)
        if about is None:
            return {}
        options = [mine[n].options for n in about]
        held = places(node, method, options)
        if not held and type(node).__name__ not in (*COUNTERS, *AROUND):
            return None
        new, count = {}, None
        if counts_calls(node):
            counts = {step if mine[n].count is None else mine[n].count for n in about}
            count = only(counts, node, "steps")
            new["count"] = filled(node, count)
        if held and count is None and method.fields:
            count = only({mine[n].count for n in about}, node, "steps")
        for key, number in {**method.numbers, **method.fields}.items() if held else ():
            if not hasattr(node, key):
                continue
            value = only([number(o, count) for o in options], node, key)
            old = getattr(node, key)
            new[key] = jax.tree.map(lambda x, v=value: jax.numpy.full_like(x, v), old)
        for key, value in (more or {}).items() if held else ():
            old = getattr(node, key)
            new[key] = jax.tree.map(lambda x, v=value: jax.numpy.asarray(v, x.dtype), old)
        own = own_names(node)
        for key, field in held.items():
            given = {n: a for n, a in slots.get(key, {}).items() if n in own}
            if given:
                new[field] = trees.replaced(getattr(node, field), given, f"convert: {key}")
                used[key] |= set(given)
        return new

    found = walk(state, visit, held_names(state))
    left = sorted(key for key in slots if used[key] != set(slots[key]))
    require(
        not left,
        f"convert: {left} has no place in the state, expected the state of an optimizer with the "
        "same options",
    )
    return found


def read(state, method, mine):
    """(key -> name there -> NumPy array, name there -> its counts, counts of no parameter, name
    there -> the options that a state has counted)."""
    slots, counts, loose, learned = {}, {n: set() for n in mine}, set(), {}

    def visit(node, within):
        about = asked(node, mine, within)
        if about is None:
            return {}
        held = places(node, method, [mine[n].options for n in about])
        if not held and type(node).__name__ not in (*COUNTERS, *AROUND):
            return None
        for key, field in held.items():
            found = trees.arrays(getattr(node, field))
            twice = sorted(set(found) & set(slots.get(key, {})))
            require(not twice, f"convert: the state has {field} twice, expected it once")
            slots.setdefault(key, {}).update(found)
        if held and all(hasattr(node, field) for field, _ in method.learned.values()):
            values = {k: f(leaf_of(node, field)) for k, (field, f) in method.learned.items()}
            learned.update(dict.fromkeys(about, values))
        if counts_calls(node):
            named = own_names(node) or within
            for n in about if named else ():
                counts[n].add(count_of(node))
            loose.update(() if named else {count_of(node)})
        return {}

    walk(state, visit, held_names(state))
    return slots, counts, loose, learned
