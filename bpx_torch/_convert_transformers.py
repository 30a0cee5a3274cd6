"""Modules of the transformers library that compute what an entry does.

The table names types of transformers 5; nothing is imported for it. Before a type is replaced, its
own forward is compared with the rule's on a small input, since another version may compute
something else. A replacement derives from the type, so that isinstance and names stay true.

Stated differences: norms compute in float64 for float64 (transformers: in float32); in half
precision `llama` norms round once, after the weight (transformers: before and after).
"""

import importlib

import torch

from bpx_torch import _convert_gated, _convert_language
from bpx_torch import functional as F
from bpx_torch.activations.piecewise import relu_squared


def _rms(x, weight, eps):
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def _llama(self, hidden_states):
    weight = self.weight
    x = hidden_states.to(torch.promote_types(hidden_states.dtype, weight.dtype))
    return _rms(x, weight, self.variance_epsilon)


def _olmo2(self, hidden_states):
    return _rms(hidden_states, self.weight, self.variance_epsilon)


def _gemma(self, x):
    return _rms(x, 1.0 + self.weight.float(), self.eps)


def _t5(self, hidden_states):
    weight = self.weight
    if weight.dtype in (torch.float16, torch.bfloat16):
        return _rms(hidden_states, weight, self.variance_epsilon).to(weight.dtype)
    x = hidden_states.to(torch.promote_types(hidden_states.dtype, weight.dtype))
    return _rms(x, weight, self.variance_epsilon)


def _conv1d(self, x):
    return F.linear(x, self.weight.t(), self.bias)


def _gelu(self, input):
    return F.gelu(input)


def _gelu_tanh(self, input):
    return F.gelu(input, approximate="tanh")


def _silu(self, input):
    return F.silu(input)


def _mish(self, input):
    return F.mish(input)


def _relu_squared(self, input):
    return relu_squared(input)


_RMS_NORMS = {
    _llama: """llama.Llama mistral.Mistral mixtral.Mixtral ministral.Ministral ministral3.Ministral3
        qwen2.Qwen2 qwen2_moe.Qwen2Moe qwen3.Qwen3 qwen3_moe.Qwen3Moe qwen2_vl.Qwen2VL
        qwen2_5_vl.Qwen2_5_VL qwen3_vl.Qwen3VLText phi3.Phi3 granite.Granite granitemoe.GraniteMoe
        glm.Glm glm4.Glm4 glm4_moe.Glm4Moe deepseek_v2.DeepseekV2 deepseek_v3.DeepseekV3
        olmoe.Olmoe smollm3.SmolLM3 mamba.Mamba mamba2.Mamba2 jamba.Jamba falcon_h1.FalconH1
        lfm2.Lfm2 seed_oss.SeedOss ernie4_5.Ernie4_5 minimax.MiniMax pixtral.Pixtral
        exaone4.Exaone4 apertus.Apertus arcee.Arcee mllama.MllamaText timesfm.TimesFm""",
    _olmo2: "olmo2.Olmo2 olmo3.Olmo3 flex_olmo.FlexOlmo gpt_oss.GptOss",
    _gemma: """gemma.Gemma gemma2.Gemma2 gemma3.Gemma3 recurrent_gemma.RecurrentGemma
        t5gemma.T5Gemma vaultgemma.VaultGemma qwen3_next.Qwen3Next""",
}
_T5_NORMS = """t5.T5 mt5.MT5 umt5.UMT5 longt5.LongT5 pix2struct.Pix2Struct pop2piano.Pop2Piano
    switch_transformers.SwitchTransformers udop.Udop"""
_ACTIVATIONS = {
    "GELUActivation": _gelu,
    "GELUTanh": _gelu_tanh,
    "NewGELUActivation": _gelu_tanh,
    "AccurateGELUActivation": _gelu_tanh,
    "SiLUActivation": _silu,
    "MishActivation": _mish,
    "ReLUSquaredActivation": _relu_squared,
}


def _model_type(name, suffix):
    folder, prefix = name.split(".")
    return f"transformers.models.{folder}.modeling_{folder}.{prefix}{suffix}"


# the full name of a type -> the forward that replaces its own
TABLE = {
    **{
        _model_type(name, "RMSNorm"): forward
        for forward, names in _RMS_NORMS.items()
        for name in names.split()
    },
    **{_model_type(name, "LayerNorm"): _t5 for name in _T5_NORMS.split()},
    **{f"transformers.activations.{name}": forward for name, forward in _ACTIVATIONS.items()},
    "transformers.pytorch_utils.Conv1D": _conv1d,
    **{_model_type(name, "MLP"): _convert_gated.forward for name in _convert_gated.TYPES.split()},
}

# whose loss is taken otherwise, where that is asked for
LANGUAGE = {
    _model_type(name, "ForCausalLM"): _convert_language.forward
    for name in _convert_language.TYPES.split()
}
AGREES = {
    _convert_gated.forward: _convert_gated.agrees,
    _convert_language.forward: _convert_language.agrees,
}


def known(kind, loss):
    return _path(kind) in TABLE or (loss and _path(kind) in LANGUAGE)


def counterpart(module, kind, checked):
    """(the type to become, None), or (None, why the module is left alone)."""
    if type(module) is not kind:
        return None, "it is parametrized"
    if kind not in checked:
        ours = _forward(kind)
        checked[kind] = AGREES.get(ours, _agrees)(module, kind.forward, ours)
    if not checked[kind]:
        return None, "its forward gives other values than the rule in this version of transformers"
    return _made(kind), None


def _agrees(module, theirs, ours):
    """On a copy with weights between 0.5 and 2, in float32 and for shapes as the module has."""
    probe = object.__new__(type(module))
    weights = {
        name: None if p is None else torch.linspace(0.5, 2, p.numel()).reshape(p.shape)
        for name, p in module._parameters.items()
    }
    probe.__dict__ = {**vars(module), "_parameters": weights}
    features = weights["weight"].shape[0] if weights.get("weight") is not None else 7
    x = torch.linspace(-3, 2, 3 * features).reshape(3, features)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        want, got = theirs(probe, x), ours(probe, x)
    # a sum of `features` products rounds no worse than this
    close = 4 * features * torch.finfo(torch.float32).eps * want.abs().max()
    return want.shape == got.shape and bool(((want - got).abs() <= close).all())


def _forward(kind):
    return {**TABLE, **LANGUAGE}[_path(kind)]


def _path(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _made(kind):
    """The replacement of a type, one for all its modules. Pickles find it by __getattr__ below."""
    name = _path(kind).replace(".", "__")
    if name not in globals():
        body = {"forward": _forward(kind), "__module__": __name__, "__qualname__": name}
        globals()[name] = type(kind.__name__, (kind,), body)
    return globals()[name]


def __getattr__(name):
    for path in (*TABLE, *LANGUAGE):
        if path.replace(".", "__") == name:
            module, _, kind = path.rpartition(".")
            return _made(getattr(importlib.import_module(module), kind))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
