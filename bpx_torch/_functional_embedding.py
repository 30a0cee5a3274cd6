"""torch.nn.functional.embedding and embedding_bag over the rules of bpx, re-exported by
bpx_torch.functional. A bag's maximum is a pool's.

Stated differences from torch: sparse gradients and gradients scaled by frequency are refused; an
index out of range on a GPU gives a row of NaN (torch: a device-side assertion). The rule keeps
weight itself for backward, not its size alone: a weight written to in between, as max_norm does,
is an error.
"""

import torch

from bpx.spec import SpecError, require
from bpx_torch.layers import adaptive_max_pool as _max_pool
from bpx_torch.layers import embedding as _embedding
from bpx_torch.layers import embedding_bag as _embedding_bag

MODES = ("sum", "mean", "max")


def embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    padding_idx = _prepared(
        "embedding", input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
    )
    return _embedding.embedding(input, weight, padding_idx=padding_idx)


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    require(mode in MODES, f"embedding_bag: mode is {mode!r}, expected one of {list(MODES)}")
    _check_shapes(input, offsets, per_sample_weights, mode)
    padding_idx = _prepared(
        "embedding_bag", input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
    )
    counts = None if input.ndim == 2 else _counts(input, offsets, include_last_offset)
    many = len(input if counts is None else counts)
    bag = torch.arange(many, device=input.device)
    if counts is None:  # the rows are bags
        bag = bag.unsqueeze(1).expand(input.shape).flatten()
    else:
        bag = bag.repeat_interleave(counts)
    index, shares = input.flatten(), per_sample_weights
    if mode == "max":
        return _maxima(index, weight, bag, many, padding_idx)
    shares = None if shares is None else shares.flatten()
    return _embedding_bag.embedding_bag(
        index, weight, bag, shares, num_bags=many, mode=mode, padding_idx=padding_idx
    )


def _maxima(index, weight, bag, many, padding_idx):
    """A pool over bags that are filled up to one length; 0 of none."""
    if padding_idx is not None:
        kept = index != padding_idx
        index, bag = index[kept], bag[kept]
    counts = torch.bincount(bag, minlength=many)
    rows = _embedding.embedding(index, weight, padding_idx=padding_idx)
    length = max(int(counts.max()), 1) if len(counts) else 1
    before = counts.cumsum(0) - counts
    place = bag * length + torch.arange(len(bag), device=bag.device) - before[bag]
    low = rows.new_full((len(counts) * length, rows.shape[1]), -torch.inf)
    filled = low.index_copy(0, place, rows).view(len(counts), length, rows.shape[1])
    filled = filled.masked_fill((counts == 0).view(-1, 1, 1), 0.0)
    return _max_pool.adaptive_max_pool(filled.transpose(1, 2), output_size=1).squeeze(2)


def _counts(input, offsets, include_last_offset):
    """How many indices each bag holds; the last one, as in torch, all to the end."""
    end = offsets.new_full((1,), len(input), dtype=torch.int64)
    starts = torch.cat([offsets.long(), end])
    none = include_last_offset and not len(offsets)
    if none or starts[0] != 0 or (starts.diff() < 0).any():
        raise SpecError(
            f"embedding_bag: offsets are {offsets.tolist()}, expected them to begin with 0, never "
            f"to fall and to end within the {len(input)} indices"
        )
    return (torch.cat([starts[:-2], end]) if include_last_offset else starts).diff()


def _check_shapes(input, offsets, per_sample_weights, mode):
    shape = tuple(input.shape)
    require(input.ndim in (1, 2), f"embedding_bag: input has shape {shape}, expected (N) or (B L)")
    if input.ndim == 2:
        require(offsets is None, "embedding_bag: offsets are given, but the rows of input are bags")
    else:
        given = None if offsets is None else tuple(offsets.shape)
        require(
            given is not None and len(given) == 1,
            f"embedding_bag: offsets have shape {given}, expected (B)",
        )
    if per_sample_weights is not None:
        require(mode == "sum", f"embedding_bag: mode is {mode!r}, per_sample_weights take 'sum'")
        given = tuple(per_sample_weights.shape)
        require(
            given == shape,
            f"embedding_bag: per_sample_weights has shape {given}, expected that of input, {shape}",
        )


def _prepared(entry, input, weight, padding_idx, max_norm, norm_type, by_frequency, sparse):
    """padding_idx from the front; weight is renormalized in place where max_norm is given."""
    for name, value in (("scale_grad_by_freq", by_frequency), ("sparse", sparse)):
        require(not value, f"{entry}: {name} is {value!r}, expected False")
    if padding_idx is not None and -weight.shape[0] <= padding_idx < 0:
        padding_idx += weight.shape[0]
    if max_norm is not None:
        with torch.no_grad():
            torch.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return padding_idx
