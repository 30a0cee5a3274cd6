"""torch's own attention, and the textbook formula where it has no softcap; merged in oracles.py."""

import torch
import torch.nn.functional as F

from bpx import random

ROUNDS = 2**32


def _seen(query, key, mask, causal, window):
    offset = torch.arange(key.shape[2]) - torch.arange(query.shape[2])[:, None]
    left, right = window or (None, None)
    seen = torch.ones_like(offset, dtype=torch.bool) if mask is None else mask
    seen = seen & (offset <= 0) if causal else seen
    seen = seen if left is None else seen & (offset >= -left)
    return seen if right is None else seen & (offset <= right)


def _kept(dropout_key, shape, p):
    """torch draws its own mask, and has no Threefry; with a given one it is this."""
    rows = torch.arange(shape[:3].numel()).reshape(*shape[:3], 1).numpy()
    word = random.words(dropout_key.numpy(), rows, torch.arange(shape[3]).numpy())
    return torch.from_numpy(word.astype("int64")) >= round(p * ROUNDS)


def _attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    dropout_key=None,
    *,
    causal=False,
    window=None,
    scale=None,
    softcap=None,
    dropout_p=0.0,
):
    seen = _seen(query, key, mask, causal, window)
    given = seen if bias is None else bias.masked_fill(~seen, -torch.inf)
    if softcap is None and dropout_p == 0:
        plain = causal and mask is bias is window is None
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            None if plain or (bias is None and seen.all()) else given,
            is_causal=plain,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    groups = query.shape[1] // key.shape[1]
    key, value = (a.repeat_interleave(groups, 1) for a in (key, value))
    s = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    s = s if softcap is None else softcap * torch.tanh(s / softcap)
    s = s if bias is None else s + bias
    seen = seen.expand(s.shape)
    none = ~seen.any(-1, keepdim=True)
    p = torch.softmax(s.masked_fill(~(seen | none), -torch.inf), -1).masked_fill(none, 0.0)
    if dropout_p:
        p = p * _kept(dropout_key, s.shape, dropout_p) / max(1 - dropout_p, 1e-9)
    return p @ value


ORACLES = {"attention": _attention}

DIFFERS: dict[str, dict[str, str]] = {}
