"""The attention modules of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake; constructor, initialization, state_dict and repr are torch's own. A
transformer made here has bpx's modules inside, in the places and with the parameters of torch's.
torch's fused inference paths, which would go around them, are never taken: padded positions are
computed as others are, nested tensors are refused by the rules. What else differs is said in
bpx_torch/_functional_attention.py.
"""

import functools
import inspect

import torch

from bpx_torch import _functional_attention as F
from bpx_torch._profiles import profiled_module
from bpx_torch.activations import piecewise, smooth

ACTIVATIONS = {
    torch.nn.functional.relu: lambda x: piecewise.relu(x),
    torch.nn.functional.gelu: lambda x: smooth.gelu(x),
}


@profiled_module("attention", skip=("heads_axis",), keep=("mask_keeps",))
class MultiheadAttention(torch.nn.MultiheadAttention):
    """mask_keeps: True in a boolean mask keeps, where torch's leaves out."""

    mask_keeps = False

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        if self.mask_keeps:
            attn_mask, key_padding_mask = (
                ~m if m is not None and m.dtype == torch.bool else m
                for m in (attn_mask, key_padding_mask)
            )
        return F.multi_head(
            self.batch_first,
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )


class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    @functools.wraps(torch.nn.TransformerEncoderLayer.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _adopt(self)

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        attend = functools.partial(
            self._sa_block,
            attn_mask=src_mask,
            key_padding_mask=src_key_padding_mask,
            is_causal=is_causal,
        )
        if self.norm_first:
            x = src + attend(self.norm1(src))
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(src + attend(src))
        return self.norm2(x + self._ff_block(x))

    def _ff_block(self, x):
        return self.dropout2(_feed_forward(self, x))


class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    @functools.wraps(torch.nn.TransformerDecoderLayer.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _adopt(self)

    def _ff_block(self, x):
        return self.dropout3(_feed_forward(self, x))


class TransformerEncoder(torch.nn.TransformerEncoder):
    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        """As torch's, but for looking whether `mask` is causal: only is_causal=True says so."""
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                is_causal=bool(is_causal),
                src_key_padding_mask=src_key_padding_mask,
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(torch.nn.TransformerDecoder):
    """torch's own: its layers compute."""


class Transformer(torch.nn.Transformer):
    @functools.wraps(torch.nn.Transformer.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        given = inspect.signature(torch.nn.Transformer).bind(*args, **kwargs).arguments
        for own in ("encoder", "decoder"):
            if given.get(f"custom_{own}") is None:
                _adopt(getattr(self, own))


def _feed_forward(layer, x):
    activation = ACTIVATIONS.get(layer.activation, layer.activation)
    return layer.linear2(layer.dropout(activation(layer.linear1(x))))


def _adopt(module):
    """Make bpx's modules of torch's, in place: they differ in `forward` alone."""
    from bpx_torch import nn  # which imports this module

    for part in module.modules():
        if type(part).__module__.startswith("torch.nn.modules."):
            part.__class__ = getattr(nn, type(part).__name__, type(part))
