"""What convert and revert say they did."""

import re
from collections import Counter
from dataclasses import dataclass

OWN = "a forward of its own"
# what a converted model does otherwise, or cannot do, by the type that makes it so
NOTES = {
    "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout MultiheadAttention": (
        "dropout drops other elements than torch's does with the same seed, at the same rate"
    ),
    "RNN LSTM GRU RNNCell LSTMCell GRUCell MultiheadAttention CTCLoss LinearCrossEntropyLoss": (
        "no forward mode (torch.func.jvp, jacfwd, hessian) through recurrent layers, attention, "
        "CTC and LinearCrossEntropyLoss"
    ),
}
NOT_REACHED = (
    f"not reached, in what has {OWN}: torch.nn.functional's functions (gelu, softmax, "
    "scaled_dot_product_attention and others) and operators; their gradients are torch's"
)
NOT_SCRIPTED = "torch.jit.script refuses a converted model; torch.compile takes it"


@dataclass(frozen=True)
class Change:
    """A module whose type changed. `names` are all its names in the model; "" is the model."""

    names: tuple[str, ...]
    before: type
    after: type


@dataclass(frozen=True)
class Left:
    """A module that was left alone."""

    names: tuple[str, ...]
    type: type
    reason: str


@dataclass(frozen=True)
class Report:
    """What became of each module, in the order of named_modules(); str() is a table.

    Containers such as Sequential are neither in `replaced` nor in `left`. `notes` are sentences:
    what the replaced modules do otherwise, and what no replacement reaches.
    """

    replaced: tuple[Change, ...]
    left: tuple[Left, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = "replaced"

    @property
    def counts(self):
        """The full name of a type -> how many modules of it were replaced."""
        return dict(Counter(full_name(c.before) for c in self.replaced))

    def __str__(self):
        changed = [
            (f"{full_name(c.before)} -> {full_name(c.after)}", "", c.names) for c in self.replaced
        ]
        lines = [f"{self.title}: {len(self.replaced)}", *_rows(changed)]
        if self.left:
            left = [(full_name(e.type), e.reason, e.names) for e in self.left]
            lines += [f"left alone: {len(self.left)}", *_rows(left)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__


def notes(replaced, left):
    """The sentences that belong to these changes."""
    kinds = {c.before.__name__ for c in replaced}
    found = [note for names, note in NOTES.items() if kinds & set(names.split())]
    if any(e.reason == OWN for e in left):
        found.append(NOT_REACHED)
    return (*found, NOT_SCRIPTED) if replaced else tuple(found)


def full_name(kind):
    """torch.nn.Linear rather than torch.nn.modules.linear.Linear."""
    module = kind.__module__
    for face, inside in (("torch.nn", "torch.nn.modules."), ("bpx_torch.nn", "bpx_torch._nn_")):
        if module.startswith(inside):
            module = face
    return f"{module}.{kind.__name__}"


def _rows(entries):
    """A line for each (what, why), with how many and where: a number in a name as *."""
    groups = {}
    for what, why, names in entries:
        groups.setdefault((what, why), []).append(names[0])
    width = max((len(what) for what, _ in groups), default=0)
    for (what, why), names in groups.items():
        where = ", ".join(_patterns(names))
        why = f"  ({why})" if why else ""
        yield f"  {len(names):4}  {what:{width}}  {where}{why}"


def _patterns(names, most=4):
    found = list(dict.fromkeys(re.sub(r"\b\d+\b", "*", n) or "the model itself" for n in names))
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return [*found[:most], *more]
