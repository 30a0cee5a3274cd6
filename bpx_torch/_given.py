"""The arguments of recorded calls: what indices may be, and small arrays without their gaps."""

import torch

SMALL = 1 << 16  # bytes, up to which a copy takes less time than Python's way around the node
# rules whose kernel copies arrays with gaps, and gives the same layouts for the copies
PACKED = frozenset(
    "cross_entropy soft_cross_entropy nll_loss glu swiglu geglu reglu softmax log_softmax".split()
)


def bounds(spec, dims, options):
    """(place, below, ignored or None) of each argument that holds indices; None too for what no
    index can be."""
    held = []
    for i, arg in enumerate(spec.args):
        if arg.kind == "index":
            ignored = None if arg.ignore is None else options[arg.ignore]
            possible = ignored is not None and -(2**63) <= ignored < 2**63
            held.append((i, dims[arg.below], ignored if possible else None))
    return held


def whole(a):
    """Whether an array has no gaps, whatever the order of its axes."""
    return a is None or a.is_contiguous() or torch.empty_like(a).stride() == a.stride()


def packed(name, arrays):
    """The arrays, of a rule that reads them without gaps small ones so."""
    given = [a for a in arrays if a is not None]
    if name not in PACKED or sum(a.nbytes for a in given) > SMALL:
        return arrays
    if all(a.is_contiguous() for a in given):
        return arrays
    return tuple(a if a is None else a.contiguous() for a in arrays)
