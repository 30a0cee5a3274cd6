"""Feed-forward blocks of the transformers library whose gated unit and last linear layer become one
rule, which does not keep the product for backward."""

import torch
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils import skip_init

from bpx_torch import nn
from bpx_torch.fused.gated_linear import gated_linear

TYPES = """llama.Llama mistral.Mistral ministral.Ministral ministral3.Ministral3 qwen2.Qwen2
    qwen2_moe.Qwen2Moe qwen3.Qwen3 qwen3_moe.Qwen3Moe qwen3_vl.Qwen3VLText granite.Granite
    glm4_moe.Glm4Moe deepseek_v2.DeepseekV2 deepseek_v3.DeepseekV3 olmoe.Olmoe smollm3.SmolLM3
    jamba.Jamba ernie4_5.Ernie4_5 exaone4.Exaone4 gemma.Gemma gemma2.Gemma2
    gemma3.Gemma3 vaultgemma.VaultGemma olmo2.Olmo2 olmo3.Olmo3 flex_olmo.FlexOlmo cohere.Cohere
    stablelm.StableLm helium.Helium mllama.MllamaText"""

ACTIVATIONS = {
    "SiLUActivation": "silu",
    "SiLU": "silu",
    "GELUActivation": "gelu",
    "GELUTanh": "gelu_tanh",
    "NewGELUActivation": "gelu_tanh",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
}
PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def forward(self, x):
    """The block's own forward where somebody would miss the calls of its activation or last layer:
    they have hooks, or are of types of their own."""
    activation = ACTIVATIONS.get(type(self.act_fn).__name__)
    down = self.down_proj
    own = (torch.nn.Linear, nn.Linear)
    if activation is None or type(down) not in own or heard(down) or heard(self.act_fn):
        return type(self).__mro__[1].forward(self, x)
    gate, up = self.gate_proj(x), self.up_proj(x)
    return gated_linear(up, gate, down.weight, down.bias, activation=activation)


def heard(module):
    """Whether somebody is told of the module's calls."""
    return _has_any_global_hook() or any(getattr(module, name) for name in HOOKS)


def agrees(module, theirs, ours):
    """On a copy with small layers of random weights, in float32."""
    if set(module._modules) != PARTS:
        return False
    generator = torch.Generator().manual_seed(0)
    sizes = {"gate_proj": (7, 5), "up_proj": (7, 5), "down_proj": (5, 3)}
    parts = {name: skip_init(torch.nn.Linear, *size) for name, size in sizes.items()}
    for part in parts.values():
        for p in part.parameters():
            p.data = torch.randn(p.shape, generator=generator)
    probe = object.__new__(type(module))
    probe.__dict__ = {**vars(module), "_modules": {**parts, "act_fn": module.act_fn}}
    x = torch.randn(4, 7, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        want, got = theirs(probe, x), ours(probe, x)
    # sums of 7 and 5 products, and an activation between them
    close = 4 * 7 * 5 * torch.finfo(torch.float32).eps * want.abs().max()
    return want.shape == got.shape and bool(((want - got).abs() <= close).all())
