"""torch.nn.functional's attention with the heads where another library has them, re-exported by
bpx_torch.functional."""

from bpx.profiles import profiled
from bpx.spec import require
from bpx_torch import _functional_attention as _attention


@profiled("attention", beyond=("heads_axis",))
def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
    *,
    heads_axis=-3,
):
    """heads_axis: where the heads of query, key, value and the result lie, -3 or -2; masks are
    (B, H, T, S) in both."""
    require(
        heads_axis in (-3, -2), f"{_attention.NAME}: heads_axis is {heads_axis}, expected -3 or -2"
    )
    options = (attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if heads_axis == -3 or query.dim() < 3:
        return _attention.scaled_dot_product_attention(query, key, value, *options)
    q, k, v = (a.transpose(-3, -2) if a.dim() > 2 else a for a in (query, key, value))
    return _attention.scaled_dot_product_attention(q, k, v, *options).transpose(-3, -2)
