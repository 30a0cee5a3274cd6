"""Causal language models of the transformers library whose loss in training comes from the last
hidden states, by linear_cross_entropy: the logits are never whole in memory.

The 30 types of transformers 5 that share one forward. Stated differences, in training alone: the
output's `logits` is None beside a loss; in half precision the logits are not rounded.
"""

import importlib
from types import SimpleNamespace

import torch

from bpx_torch import _functional_fused, nn
from bpx_torch._convert_gated import heard

TYPES = """apertus.Apertus bitnet.BitNet cwm.Cwm diffllama.DiffLlama emu3.Emu3 ernie4_5.Ernie4_5
    exaone4.Exaone4 gemma.Gemma glm.Glm helium.Helium hunyuan_v1_dense.HunYuanDenseV1 jais2.Jais2
    lfm2.Lfm2 lfm3.Lfm3 llama.Llama ministral.Ministral ministral3.Ministral3 mistral.Mistral
    olmo.Olmo olmo2.Olmo2 olmo3.Olmo3 olmo_hybrid.OlmoHybrid phi.Phi qwen2.Qwen2 qwen3.Qwen3
    qwen3_5.Qwen3_5 seed_oss.SeedOss smollm3.SmolLM3 starcoder2.Starcoder2 youtu.Youtu"""


def forward(
    self,
    input_ids=None,
    attention_mask=None,
    position_ids=None,
    past_key_values=None,
    inputs_embeds=None,
    labels=None,
    use_cache=None,
    logits_to_keep=0,
    **kwargs,
):
    """The model's own forward where no loss is wanted, in evaluation, where the loss is the user's,
    and where somebody would miss the call of the last layer."""
    given = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "position_ids": position_ids,
        "past_key_values": past_key_values,
        "inputs_embeds": inputs_embeds,
        "use_cache": use_cache,
        **kwargs,
    }
    if labels is None or not self.training or not _plain(self, logits_to_keep):
        own = type(self).__mro__[1].forward
        return own(self, labels=labels, logits_to_keep=logits_to_keep, **given)
    outputs_of = importlib.import_module("transformers.modeling_outputs")
    whole = given.pop("return_dict", None)
    outputs = self.model(**given)
    loss = _loss(self.lm_head, outputs.last_hidden_state, labels, **kwargs)
    found = outputs_of.CausalLMOutputWithPast(
        loss=loss,
        past_key_values=outputs.past_key_values,
        hidden_states=outputs.hidden_states,
        attentions=outputs.attentions,
    )
    whole = self.config.return_dict if whole is None else whole
    return found if whole else found.to_tuple()


def _plain(model, logits_to_keep):
    """Whether loss and last layer are the library's own, over every token."""
    losses = importlib.import_module("transformers.loss.loss_utils")
    head = model.lm_head
    every = isinstance(logits_to_keep, int) and logits_to_keep == 0
    own = type(head) in (torch.nn.Linear, nn.Linear) and not heard(head)
    return every and own and model.loss_function is losses.ForCausalLMLoss


def _loss(head, hidden, labels, num_items_in_batch=None, ignore_index=-100, shift_labels=None, **_):
    """A token's label is the next token, unless shift_labels (B T) says what it is; a sum divided
    by num_items_in_batch where that is given, else a mean. float32, or float64."""
    if shift_labels is None:
        none = labels.new_full((*labels.shape[:-1], 1), ignore_index)
        shift_labels = torch.cat([labels[..., 1:], none], -1)
    rows = hidden.reshape(-1, hidden.shape[-1])
    loss = _functional_fused.linear_cross_entropy(
        rows if rows.dtype == torch.float64 else rows.float(),
        head.weight,
        shift_labels.reshape(-1).to(hidden.device),
        linear_bias=head.bias,
        reduction="mean" if num_items_in_batch is None else "sum",
        ignore_index=ignore_index,
    )
    if torch.is_tensor(num_items_in_batch):
        num_items_in_batch = num_items_in_batch.to(loss.device)
    return loss if num_items_in_batch is None else loss / num_items_in_batch


def agrees(module, theirs, ours):
    """With a small last layer, and hidden states in the place of the network, in float32."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 4, 5, generator=generator)
    head = torch.nn.Linear(5, 7, bias=module.lm_head.bias is not None)
    for p in head.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    found = SimpleNamespace(
        last_hidden_state=hidden, past_key_values=None, hidden_states=None, attentions=None
    )
    probe = object.__new__(type(module))
    probe.__dict__ = {
        **vars(module),
        "training": True,
        "_modules": {"model": lambda **_: found, "lm_head": head},
        "config": SimpleNamespace(vocab_size=7, return_dict=True),
        "_forward_hooks": {},
    }
    labels = torch.tensor([[0, 6, -100, 3], [5, 2, 2, 1]])
    for more in ({}, {"num_items_in_batch": 5}, {"shift_labels": labels.flip(0)}):
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            want, got = (f(probe, labels=labels, **more).loss for f in (theirs, ours))
        if not bool((want - got).abs() <= 64 * torch.finfo(torch.float32).eps * want.abs()):
            return False
    return True
