"""torch's own embedding, dropout with a given mask, and rotary embedding; merged in oracles.py."""

import math

import torch
import torch.nn.functional as F


def _embedding(indices, weight, *, padding_idx=None):
    if not weight.shape[1]:  # torch's backward divides by the number of columns
        return weight[indices.long()]
    # torch takes no uint8 indices
    return F.embedding(indices.long(), weight, padding_idx)


def _embedding_bag(
    indices, weight, bags, per_sample_weights=None, *, num_bags=1, mode="mean", padding_idx=None
):
    """torch's own takes bags in order, and no weights in a mean; those are its sums, divided."""
    order = torch.argsort(bags.long(), stable=True)
    kept = order if padding_idx is None else order[indices[order] != padding_idx]
    size = torch.bincount(bags[kept].long(), minlength=num_bags)
    shares = None if per_sample_weights is None else per_sample_weights[kept]
    own = mode if shares is None else "sum"
    index, offsets = indices[kept].long(), size.cumsum(0) - size
    if not len(index) or not weight.shape[1]:  # which torch's own may not be given
        return (weight[:1].sum(0) * 0).expand(num_bags, -1)
    y = F.embedding_bag(index, weight, offsets, mode=own, per_sample_weights=shares)
    return y if own == mode else y / size.clamp(min=1).unsqueeze(1)


# torch's dropout draws its own mask: with a given one it is this
def _dropout(x, bits, *, p=0.5, broadcast_dims=()):
    shared = [d % x.ndim for d in broadcast_dims]
    shape = [1 if d in shared else n for d, n in enumerate(x.shape)]
    keep = torch.stack([bits >> i & 1 for i in range(8)], -1).reshape(-1)[: math.prod(shape)]
    keep = keep.reshape(shape) == 1
    return torch.where(keep & (p < 1), x / max(1 - p, 1e-9), 0)


# as complex numbers x1 + i x2, times cos + i sin
def _rope(x, cos, sin, *, interleaved=False):
    pairs = cos.shape[1]
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    shape = (pairs, 2) if interleaved else (2, pairs)
    both = turned.reshape(*x.shape[:-1], *shape)
    both = both if interleaved else both.transpose(-1, -2)
    z = torch.complex(both[..., 0], both[..., 1]) * torch.complex(cos, sin)
    y = torch.stack([z.real, z.imag], -1)
    y = y if interleaved else y.transpose(-1, -2)
    return torch.cat([y.flatten(-2), rest], -1)


ORACLES = {
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    "dropout": _dropout,
    "rope": _rope,
}

DIFFERS: dict[str, dict[str, str]] = {}
