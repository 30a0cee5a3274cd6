"""Where flax.nnx keeps what torch keeps: names, axes and the layers that hold them.

    torch                     flax.nnx
    Linear.weight (O I)       kernel (I O)
    Conv.weight (O I *W)      kernel (*W I O)
    ConvTranspose.weight      kernel (*W I O), reversed along *W; with transpose_kernel (*W O I)
    norms' weight             scale;  running_mean, running_var are mean, var
    Embedding.weight          embedding
    LSTM, GRU, RNN            one cell for each layer and direction, with one bias for torch's two
    MultiheadAttention        query, key, value kernels (E H D), biases (H D); out.kernel (H D E)
    PReLU.weight (1)          negative_slope ()

Source: flax 0.12, flax/nnx/nn.
"""

from __future__ import annotations

import numpy as np

from bpx.convert import _recurrent
from bpx.convert._arrays import (
    Array,
    channels_first,
    channels_last,
    swapped_first,
    swapped_last,
    turned,
)
from bpx.convert._rows import Arrays, Row, row
from bpx.convert.structure import Layer
from bpx.spec import require

LIBRARY = "flax.nnx"
SEQUENTIAL = "layers"
BIAS = row("bias", "bias")
SCALE = (row("weight", "scale"), BIAS)


def _conv_transpose(layer: Layer, form: str | None) -> tuple[Row, ...]:
    require(
        layer.settings["groups"] == 1,
        f"convert: a transposed convolution has groups={layer.settings['groups']}, expected 1 "
        "(flax.nnx has no groups there)",
    )
    if form == "transpose_kernel":
        return row("weight", "kernel", channels_last, channels_first), BIAS

    def to(a: Array) -> Array:
        a = swapped_last(a)
        return turned(a, tuple(range(a.ndim - 2)))

    def back(a: Array) -> Array:
        return swapped_first(turned(a, tuple(range(a.ndim - 2))))

    return row("weight", "kernel", to, back), BIAS


def _attention(layer: Layer, form: str | None) -> tuple[Row, ...]:
    heads = layer.settings["heads"]
    parts = ("query", "key", "value")

    def split(w: Array) -> Array:
        return w.T.reshape(w.shape[1], heads, -1)

    def join(k: Array) -> Array:
        return k.reshape(len(k), -1).T

    def by_heads(b: Array) -> Array:
        return b.reshape(heads, -1)

    def packed(*kernels: Array) -> Arrays:
        return (np.concatenate([join(k) for k in kernels]),)

    def packed_bias(*biases: Array) -> Arrays:
        return (np.concatenate([b.reshape(-1) for b in biases]),)

    kernels, biases = (tuple(f"{p}.{n}" for p in parts) for n in ("kernel", "bias"))
    return (
        Row(("in_proj_weight",), kernels, lambda w: tuple(map(split, np.split(w, 3))), packed),
        *(row(f"{p[0]}_proj_weight", f"{p}.kernel", split, join) for p in parts),
        Row(("in_proj_bias",), biases, lambda b: tuple(map(by_heads, np.split(b, 3))), packed_bias),
        row(
            "out_proj.weight",
            "out.kernel",
            lambda w: w.T.reshape(heads, -1, len(w)),
            lambda k: k.reshape(-1, k.shape[-1]).T,
        ),
        row("out_proj.bias", "out.bias"),
    )


def _prelu(layer: Layer, form: str | None) -> tuple[Row, ...]:
    def to(a: Array) -> Array:
        require(
            a.size == 1,
            f"convert: prelu: weight has {a.size} elements, expected 1 (flax.nnx has one slope)",
        )
        return a.reshape(())

    return (row("weight", "negative_slope", to, lambda a: a.reshape(1)),)


def _layer_norm(layer: Layer, form: str | None) -> tuple[Row, ...]:
    require(
        len(layer.settings["shape"]) == 1,
        f"convert: normalized_shape is {list(layer.settings['shape'])}, expected one size "
        "(flax.nnx normalises the last axis)",
    )
    return SCALE


def cells(layer: Layer) -> list[tuple[str, str]]:
    """(torch's end, path of the cell below the layer's) of each run of a recurrent network:
    nnx.RNN, nnx.Bidirectional of two, or an nnx.Sequential of either."""
    layers, directions = layer.settings["layers"], layer.settings["directions"]
    within = ("cell",) if directions == 1 else ("forward_rnn.cell", "backward_rnn.cell")
    above = [""] if layers == 1 else [f"layers.{i}." for i in range(layers)]
    paths = [f"{a}{w}" for a in above for w in within]
    return list(zip(_recurrent.ends(layers, directions), paths, strict=True))


def cell_rows(kind: str, end: str, prefix: str, form: str | None) -> tuple[Row, ...]:
    if kind == "lstm_cell":
        return _recurrent.nnx_lstm(prefix, end, optimized=form != "separate")
    return (_recurrent.nnx_gru if kind == "gru_cell" else _recurrent.nnx_rnn)(prefix, end)


# kind -> the rows of a layer, by how the target keeps it where flax has two ways
TABLE = {
    "linear": lambda layer, form: (row("weight", "kernel", np.transpose), BIAS),
    "conv": lambda layer, form: (row("weight", "kernel", channels_last, channels_first), BIAS),
    "conv_transpose": _conv_transpose,
    "embedding": lambda layer, form: (row("weight", "embedding"),),
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "group_norm": lambda layer, form: SCALE,
    "instance_norm": lambda layer, form: SCALE,
    "batch_norm": lambda layer, form: (
        *SCALE,
        row("running_mean", "mean"),
        row("running_var", "var"),
    ),
    "attention": _attention,
    "prelu": _prelu,
}
