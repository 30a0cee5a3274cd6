"""The attention of transformers' models on bpx's rule, through that library's AttentionInterface.

Their forwards call an attention function that the model's configuration names. It is registered
under NAME at the first use; a model loaded from a pickle by another process needs convert again.
Stated differences: a query that sees no key gives 0 (sdpa: NaN or the mean of all values); dropout
draws other elements. Softcaps and position biases work; attention sinks (s_aux) and paged caches
are refused. The masks are those that sdpa gets.
"""

import sys

import torch

from bpx.spec import SpecError
from bpx_torch.layers.attention import attention

NAME = "bpx"
MARK = "_bpx_attention"


def forward(
    module,
    query,
    key,
    value,
    attention_mask,
    dropout=0.0,
    scaling=None,
    is_causal=None,
    position_bias=None,
    softcap=None,
    **kwargs,
):
    """query (B H T D), key and value (B K S D) -> (B T H D), and no weights."""
    for name in ("s_aux", "cache"):
        if kwargs.get(name) is not None:
            raise SpecError(f"attention: {name} is given, expected none with bpx's attention")
    mask, bias = attention_mask, position_bias
    if mask is not None and mask.dtype != torch.bool:
        mask, bias = None, mask if bias is None else mask + bias
    if is_causal is None:
        is_causal = query.shape[2] > 1 and attention_mask is None and module.is_causal
    dropout_key = None
    if dropout:
        dropout_key = torch.randint(0, 2**32, (2,), device=query.device).to(torch.uint32)
    y = attention(
        query,
        key,
        value,
        bias,
        mask,
        dropout_key,
        causal=bool(is_causal),
        scale=scaling,
        softcap=softcap,
        dropout_p=dropout,
    )
    return y.transpose(1, 2).contiguous(), None


def attach(model):
    """Have every model of transformers in `model` call `forward`; what was changed, in words."""
    said = []
    for part in _models(model):
        before = part.config._attn_implementation
        if before != NAME and _attends(part.config) and part._can_set_attn_implementation():
            _register()
            part.set_attn_implementation(NAME)
            vars(part)[MARK] = before
            said.append(f"attention of {type(part).__name__} is bpx's (before: {before})")
    return tuple(said)


def detach(model):
    """Undo attach."""
    for part in _models(model):
        if before := vars(part).pop(MARK, None):
            part.set_attn_implementation(before)


def _attends(config):
    inside = (getattr(config, name, None) for name in config.sub_configs)
    return any(hasattr(c, "num_attention_heads") for c in (config, *inside))


def _models(model):
    library = sys.modules.get("transformers")  # who has a model of it has imported it
    if library is None:
        return []
    return [m for m in model.modules() if isinstance(m, library.PreTrainedModel)]


def _register():
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
