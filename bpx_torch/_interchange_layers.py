"""What a torch model is made of, for bpx.convert: each layer's kind and the settings that change y.

Settings are written as every library can have them: padding as pairs, momentum as torch's."""

import torch
from torch.nn.utils import parametrize

from bpx.convert import Layer
from bpx.spec import require


def _convolution(m):
    axes = len(m.kernel_size)
    if m.padding == "valid":
        pads = [[0, 0]] * axes
    elif m.padding == "same":  # torch puts the odd one at the end
        totals = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        pads = [[t // 2, t - t // 2] for t in totals]
    else:
        pads = [[p, p] for p in m.padding]
    return {
        "stride": list(m.stride),
        "padding": pads,
        "dilation": list(m.dilation),
        "groups": m.groups,
        "padding_mode": m.padding_mode,
    }


def _transposed(m):
    return _convolution(m) | {"output_padding": list(m.output_padding)}


def _embedding(m):
    require(
        m.max_norm is None and not m.scale_grad_by_freq and not m.sparse,
        "convert: embedding: max_norm, scale_grad_by_freq or sparse is set, expected none of them",
    )
    return {"padding_idx": m.padding_idx}


def _rms_norm(m):
    eps = m.eps
    if eps is None:  # torch: that of the dtype it computes in, float32 at least
        wide = m.weight is not None and m.weight.dtype == torch.float64
        eps = torch.finfo(torch.float64 if wide else torch.float32).eps
    return {"eps": eps, "shape": list(m.normalized_shape)}


def _batch_norm(m):
    require(
        m.momentum is not None,
        "convert: batch_norm: momentum is None, expected a number (only torch has a running mean "
        "of all batches)",
    )
    tracked = m.running_mean is not None
    return {"eps": m.eps, "momentum": float(m.momentum) if tracked else None}


def _recurrent(m):
    require(
        not m.proj_size,
        f"convert: lstm: proj_size is {m.proj_size}, expected 0 (only torch has it)",
    )
    found = {"layers": m.num_layers, "directions": 1 + m.bidirectional}
    return found | ({"nonlinearity": m.nonlinearity} if hasattr(m, "nonlinearity") else {})


def _cell(m):
    return {"nonlinearity": m.nonlinearity} if hasattr(m, "nonlinearity") else {}


def _attention(m):
    require(
        m.bias_k is None and not m.add_zero_attn,
        "convert: attention: add_bias_kv or add_zero_attn is set, expected neither of them",
    )
    return {"heads": m.num_heads}


# torch's type -> (bpx's kind, its settings)
KINDS = {
    "Linear": ("linear", lambda m: {}),
    "NonDynamicallyQuantizableLinear": ("linear", lambda m: {}),
    "Embedding": ("embedding", _embedding),
    "LayerNorm": ("layer_norm", lambda m: {"eps": m.eps, "shape": list(m.normalized_shape)}),
    "RMSNorm": ("rms_norm", _rms_norm),
    "GroupNorm": ("group_norm", lambda m: {"eps": m.eps, "num_groups": m.num_groups}),
    "LSTM": ("lstm", _recurrent),
    "GRU": ("gru", _recurrent),
    "RNN": ("rnn", _recurrent),
    "LSTMCell": ("lstm_cell", _cell),
    "GRUCell": ("gru_cell", _cell),
    "RNNCell": ("rnn_cell", _cell),
    "MultiheadAttention": ("attention", _attention),
    "PReLU": ("prelu", lambda m: {}),
    "Sequential": ("sequential", lambda m: {}),
}
for _n in (1, 2, 3):
    KINDS[f"Conv{_n}d"] = ("conv", _convolution)
    KINDS[f"ConvTranspose{_n}d"] = ("conv_transpose", _transposed)
    KINDS[f"BatchNorm{_n}d"] = ("batch_norm", _batch_norm)
    KINDS[f"InstanceNorm{_n}d"] = ("instance_norm", lambda m: {"eps": m.eps})
# lists of torch.nn, which have names of their own and nothing to say of the arrays
LISTS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")


def layers(model):
    """path -> Layer of every layer of torch.nn in a model; classes of the model's own have none,
    and their arrays move as they are."""
    found = {}
    for path, module in model.named_modules():
        above = path.rpartition(".")[0]
        if above in found and path and found[above].kind == "attention":
            continue  # its out_proj
        require(
            not parametrize.is_parametrized(module),
            f"convert: {path or 'the model'} is parametrized, expected plain weights "
            "(torch.nn.utils.parametrize.remove_parametrizations)",
        )
        names = [c.__name__ for c in type(module).__mro__ if c.__module__.startswith("torch.nn.")]
        if not names or names[0] in LISTS:
            continue
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if names[0] in KINDS:
            kind, settings = KINDS[names[0]]
            found[path] = Layer(kind, settings(module))
        elif own and names[0] != "Module":
            found[path] = Layer(names[0])
    return found
