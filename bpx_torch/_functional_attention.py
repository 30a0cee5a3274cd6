"""torch.nn.functional's attention over the rules of bpx, re-exported by bpx_torch.functional.

Neither holds a (T, S) matrix for backward, but for the weights where they are asked for. With
dropout torch's generator of the input's device draws one key for a call, from which all else
follows: torch.manual_seed gives the same masks again, though not torch's own. Stated difference:
a query that sees no key gives 0 and weights of 0, with zero gradients, everywhere; torch gives NaN
where it computes the weights. What masks and projections need is the same for every head: nothing
is repeated for heads.
"""

import functools
import inspect
import math

import torch

from bpx.spec import require
from bpx_torch._attention_weights import with_weights
from bpx_torch.layers import attention as _attention
from bpx_torch.layers import linear as _linear

NAME, MULTI = "scaled_dot_product_attention", "multi_head_attention_forward"


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    arrays = (query, key, value)
    dims = query.dim()
    require(
        dims >= 2 and key.dim() == dims and value.dim() == dims,
        f"{NAME}: query, key and value have {[a.dim() for a in arrays]} dims, expected one number "
        "of at least 2",
    )
    require(
        attn_mask is None or not is_causal,
        f"{NAME}: attn_mask is given and is_causal is True, expected one of them",
    )
    if dims == 4 and attn_mask is None and _alike(*arrays, enable_gqa):
        return _run(query, key, value, None, None, dropout_p, causal=is_causal, scale=scale)
    # no leading dims, one head, where there are none
    wide = [a[(None,) * (4 - dims)] if dims < 4 else a for a in arrays]
    lead = torch.broadcast_shapes(*(a.shape[:-3] for a in wide))
    heads = tuple(a.shape[-3] for a in wide)
    if not enable_gqa:
        several = set(heads) - {1}
        require(
            len(several) < 2,
            f"{NAME}: query, key and value have {list(heads)} heads, expected one number, or "
            "enable_gqa=True",
        )
        head = several.pop() if several else 1
        heads = (head, heads[1] if heads[1] == heads[2] else head)
    q, k, v = (
        a.expand(*lead, n, *a.shape[-2:]).reshape(math.prod(lead), n, *a.shape[-2:])
        for a, n in zip(wide, (*heads, heads[1])[:3], strict=True)
    )
    bias, mask = _one_of(None if attn_mask is None else _four(attn_mask, lead))
    y = _run(q, k, v, bias, mask, dropout_p, causal=is_causal, scale=scale)
    return y.reshape(*lead, *y.shape[1:])[(0,) * (4 - dims) if dims < 4 else ...]


def _alike(query, key, value, grouped):
    """Whether batches and heads are what the rule takes as they are."""
    b, h = query.shape[:2]
    several = key.shape[1] if grouped else h
    return key.shape[:2] == value.shape[:2] == (b, several)


def _four(mask, lead):
    """A mask of any number of dims as (B, H, T, S), each of its own size or 1."""
    wide = mask[(None,) * max(0, 3 + len(lead) - mask.dim())]
    require(
        wide.dim() == 3 + len(lead)
        and all(n in (1, m) for n, m in zip(wide.shape[:-3], lead, strict=True)),
        f"{NAME}: attn_mask has shape {tuple(mask.shape)}, expected it to broadcast to "
        f"{(*lead, 'H', 'T', 'S')}",
    )
    lead = lead if math.prod(wide.shape[:-3]) != 1 else (1,) * len(lead)
    return wide.expand(*lead, *wide.shape[-3:]).reshape(math.prod(lead), *wide.shape[-3:])


def _one_of(mask):
    """(bias, mask): an additive mask is a bias."""
    if mask is None or mask.dtype == torch.bool:
        return None, mask
    require(
        mask.is_floating_point(),
        f"{NAME}: attn_mask has dtype {mask.dtype}, expected torch.bool or a floating dtype",
    )
    return mask, None


def _run(q, k, v, bias, mask, p, **options):
    words = torch.randint(0, 2**32, (2,), device=q.device).to(torch.uint32) if p else None
    return _attention.attention(q, k, v, bias, mask, words, dropout_p=p, **options)


def multi_head(
    batch_first,
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """torch's multi_head_attention_forward, of arrays (T B E) or (B T E)."""
    batched = query.dim() == 3
    _check(query, key, value, embed_dim_to_check, num_heads)
    lead = 0 if batch_first else 1  # where the batch is
    if not batched:
        alone = query is key, key is value
        query = query.unsqueeze(lead)
        key = query if alone[0] else key.unsqueeze(lead)
        value = key if alone[1] else value.unsqueeze(lead)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    require(
        attn_mask is not None or not is_causal,
        f"{MULTI}: attn_mask is None, expected the mask that is_causal=True is a hint about",
    )
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        weights = in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    n = query.shape[lead]
    if bias_k is not None:
        shape = (n, 1, -1) if batch_first else (1, n, -1)
        k, v = (
            torch.cat([a, b.to(a.dtype).expand(shape)], 1 - lead)
            for a, b in ((k, bias_k), (v, bias_v))
        )
    # (T, B, H, D) or (B, T, H, D) as (B, H, T, D)
    order = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)
    q, k, v = (a.unflatten(2, (num_heads, -1)).permute(order) for a in (q, k, v))
    k, v = (
        a if given is None else given.unflatten(0, (n, num_heads))
        for a, given in ((k, static_k), (v, static_v))
    )
    if add_zero_attn:
        k, v = (torch.cat([a, a.new_zeros((*a.shape[:2], 1, a.shape[3]))], 2) for a in (k, v))
    causal = is_causal and key_padding_mask is None and not need_weights
    added = (bias_k is not None) + add_zero_attn
    bias, mask = _masks(None if causal else attn_mask, key_padding_mask, q, k.shape[2], added)
    p = dropout_p if training else 0.0
    if need_weights:
        y, w = with_weights(q, k, v, bias, mask, p)
        w = w.mean(1) if average_attn_weights else w
    else:
        y, w = _run(q, k, v, bias, mask, p, causal=causal), None
    y = y.permute((0, 2, 1, 3) if batch_first else (2, 0, 1, 3)).flatten(2)
    y = _linear.linear(y, out_proj_weight, out_proj_bias)
    return (y, w) if batched else (y.squeeze(lead), None if w is None else w.squeeze(0))


def multi_head_attention_forward(*args, **kwargs):
    return multi_head(False, *args, **kwargs)


_SIGNATURE = inspect.signature(functools.partial(multi_head, False))
multi_head_attention_forward.__signature__ = _SIGNATURE  # type: ignore[attr-defined]


def _check(query, key, value, width, heads):
    require(
        query.dim() in (2, 3) and key.dim() == query.dim() and value.dim() == query.dim(),
        f"{MULTI}: query, key and value have {[a.dim() for a in (query, key, value)]} dims, "
        "expected 3 each, or 2 each without a batch",
    )
    require(
        query.shape[-1] == width and width % heads == 0,
        f"{MULTI}: query has {query.shape[-1]} features, expected {width}, a multiple of {heads} "
        "heads",
    )
    require(
        key.shape[:-1] == value.shape[:-1],
        f"{MULTI}: value has shape {tuple(value.shape)}, expected key's {tuple(key.shape[:-1])} "
        "but for the features",
    )


def _projected(query, key, value, weights, bias):
    """Queries, keys and values; one product where they are of one tensor."""
    if isinstance(weights, tuple):
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        return [
            _linear.linear(*args) for args in zip((query, key, value), weights, biases, strict=True)
        ]
    if query is key and key is value:
        return _linear.linear(query, weights, bias).chunk(3, -1)
    width = weights.shape[0] // 3
    first, rest = (
        (None, None) if a is None else a.split([width, 2 * width]) for a in (weights, bias)
    )
    if key is value:
        return (
            _linear.linear(query, first[0], rest[0]),
            *_linear.linear(key, first[1], rest[1]).chunk(2, -1),
        )
    return _projected(query, key, value, weights.chunk(3), bias)


def _masks(attn_mask, padding, q, s, added):
    """(bias, mask) of torch's two masks, in which True is left out and floats are added: where one
    of each can say both, no (B, H, T, S) array is made of them."""
    b, h, t = q.shape[:3]
    if attn_mask is not None:
        attn_mask = _longer("attn_mask", attn_mask, s, added, (t,), (b * h, t))
        attn_mask = attn_mask[None, None] if attn_mask.dim() == 2 else attn_mask.view(b, h, t, s)
    if padding is not None:
        padding = _longer("key_padding_mask", padding, s, added, (b,))[:, None, None]
    floats = [a for a in (attn_mask, padding) if a is not None and a.is_floating_point()]
    hidden = [a for a in (attn_mask, padding) if a is not None and not a.is_floating_point()]
    if len(hidden) == 2:
        zeros = torch.zeros_like(padding, dtype=q.dtype)
        return zeros.masked_fill(padding, -torch.inf), ~attn_mask
    bias = floats[0] + floats[1] if len(floats) == 2 else floats[0] if floats else None
    return bias, ~hidden[0] if hidden else None


def _longer(name, mask, s, added, *shapes):
    """The mask, with columns that hide nothing for keys that were appended."""
    expected = [(*shape, s - added) for shape in shapes]
    require(
        mask.shape in expected and (mask.dtype == torch.bool or mask.is_floating_point()),
        f"{MULTI}: {name} is {mask.dtype} of shape {tuple(mask.shape)}, expected bool or floats of "
        f"{' or '.join(map(str, expected))}",
    )
    return torch.nn.functional.pad(mask, (0, added))
