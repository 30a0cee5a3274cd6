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


def apart(a):
    """Whether no two elements of an array share a place in memory."""
    if a is None or a.is_contiguous():
        return True
    reach = 0  # of the axes within
    for step, size in sorted(zip(a.stride(), a.shape, strict=True)):
        if size > 1 and step <= reach:
            return False
        reach += (size - 1) * step
    return True


def shaped(a):
    """What is known in backward of an argument of which the shape alone is kept: that, dtype and
    device, and the axis, if it is not the last, along which its elements lie side by side."""
    if a is None:
        return None
    axes = zip(a.shape, a.stride(), strict=True)
    side = [i for i, (size, step) in enumerate(axes) if step == 1 and size > 1]
    of = {"dtype": a.dtype, "device": a.device}
    return a.shape, of, side[0] if len(side) == 1 and side[0] < a.ndim - 1 else None


def unseen(known):
    """What stands in for such an argument: NaN for who looks at more, its stride 1 along that axis
    and 0 along the others."""
    if known is None:
        return None
    shape, of, side = known
    nan = torch.full((), torch.nan, **of)
    if side is None:
        return nan.expand(shape)
    return nan.repeat(shape[side]).as_strided(shape, [int(i == side) for i in range(len(shape))])


def extent(a):
    """Bytes from the first element of an array to its last, gaps included."""
    last = sum((n - 1) * step for n, step in zip(a.shape, a.stride(), strict=True))
    return (last + 1) * a.element_size() if a.numel() else 0


def packed(name, arrays):
    """The arrays, of a rule that reads them without gaps small ones so."""
    given = [a for a in arrays if a is not None]
    if name not in PACKED or sum(a.nbytes for a in given) > SMALL:
        return arrays
    if all(a.is_contiguous() for a in given):
        return arrays
    return tuple(a if a is None else a.contiguous() for a in arrays)
