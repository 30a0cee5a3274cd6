"""Functions of two inputs of torch.nn.functional over the rules of bpx, re-exported by
bpx_torch.functional.

Stated difference from torch: below eps the length of a vector is a constant to the derivative of
cosine_similarity.
"""

import torch

from bpx.profiles import profiled
from bpx_torch.layers import bilinear as _bilinear
from bpx_torch.layers import cosine_similarity as _cosine


def bilinear(input1, input2, weight, bias=None):
    return _bilinear.bilinear(input1, input2, weight, bias)


@profiled("cosine_similarity")
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    a, b = torch.broadcast_tensors(x1, x2)
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = (x.to(dtype).movedim(dim, -1) for x in (a, b))
    return _cosine.cosine_similarity(a, b, eps=eps)
