"""torch.nn.functional.embedding over the rule of bpx, re-exported by bpx_torch.functional.

Stated differences from torch: sparse gradients and gradients scaled by frequency are refused; an
index out of range on a GPU gives a row of NaN (torch: a device-side assertion). The rule keeps
weight itself for backward, not its size alone: a weight written to in between, as max_norm does,
is an error.
"""

import torch

from bpx.spec import require
from bpx_torch.layers import embedding as _embedding


def embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    for name, value in (("scale_grad_by_freq", scale_grad_by_freq), ("sparse", sparse)):
        require(not value, f"embedding: {name} is {value!r}, expected False")
    if padding_idx is not None and -weight.shape[0] <= padding_idx < 0:
        padding_idx += weight.shape[0]
    if max_norm is not None:
        with torch.no_grad():
            torch.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return _embedding.embedding(input, weight, padding_idx=padding_idx)
