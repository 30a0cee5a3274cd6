"""Where equinox keeps what torch keeps: names, axes and the layers that hold them.

    torch                            equinox
    Linear, Embedding, norms         weight, bias, as in torch
    Conv.bias (O)                    bias (O 1 1), as many as there are axes
    ConvTranspose.weight (I O/g *W)  weight (O I/g *W), reversed along *W
    BatchNorm's running_mean, _var   batch_state_index.0, .1 of the State
    LSTM, GRU                        one cell for each layer and direction, in a list if there are
                                     several; one bias for torch's two, and GRU's bias_n
    MultiheadAttention               query_proj, key_proj, value_proj, output_proj
    PReLU.weight (1)                 negative_slope ()

Source: equinox 0.13, equinox/nn.
"""

from __future__ import annotations

import numpy as np

from bpx.convert import _recurrent
from bpx.convert._arrays import Array, regrouped, turned
from bpx.convert._rows import Arrays, Row, row
from bpx.convert.structure import Layer
from bpx.spec import require

LIBRARY = "equinox"
SEQUENTIAL = "layers"
PLAIN = (row("weight", "weight"), row("bias", "bias"))


def _conv_bias(layer: Layer) -> Row:
    axes = len(layer.settings["stride"])
    return row("bias", "bias", lambda b: b.reshape(-1, *(1,) * axes), np.ravel)


def _conv_transpose(layer: Layer, form: str | None) -> tuple[Row, ...]:
    groups = layer.settings["groups"]

    def to(a: Array) -> Array:
        return turned(regrouped(a, groups), tuple(range(2, a.ndim)))

    return row("weight", "weight", to), _conv_bias(layer)


def _attention(layer: Layer, form: str | None) -> tuple[Row, ...]:
    parts = ("query", "key", "value")
    weights, biases = (tuple(f"{p}_proj.{n}" for p in parts) for n in ("weight", "bias"))

    def split(a: Array) -> Arrays:
        return tuple(np.split(a, 3))

    def packed(*parts: Array) -> Arrays:
        return (np.concatenate(parts),)

    return (
        Row(("in_proj_weight",), weights, split, packed),
        *(row(f"{p[0]}_proj_weight", f"{p}_proj.weight") for p in parts),
        Row(("in_proj_bias",), biases, split, packed),
        row("out_proj.weight", "output_proj.weight"),
        row("out_proj.bias", "output_proj.bias"),
    )


def _prelu(layer: Layer, form: str | None) -> tuple[Row, ...]:
    def to(a: Array) -> Array:
        require(
            a.size == 1,
            f"convert: prelu: weight has {a.size} elements, expected 1 "
            "(equinox has no axis of channels)",
        )
        return a.reshape(())

    return (row("weight", "negative_slope", to, lambda a: a.reshape(1)),)


def cells(layer: Layer) -> list[tuple[str, str]]:
    """(torch's end, path of the cell below the layer's): the layer's own for one, else a list."""
    layers, directions = layer.settings["layers"], layer.settings["directions"]
    ends = _recurrent.ends(layers, directions)
    return [(end, str(i) if len(ends) > 1 else "") for i, end in enumerate(ends)]


def cell_rows(kind: str, end: str, prefix: str, form: str | None) -> tuple[Row, ...]:
    require(kind != "rnn_cell", "convert: rnn: equinox has no such cell")
    make = _recurrent.equinox_lstm if kind == "lstm_cell" else _recurrent.equinox_gru
    return make(prefix, end)


# kind -> the rows of a layer
TABLE = {
    "linear": lambda layer, form: PLAIN,
    "conv": lambda layer, form: (PLAIN[0], _conv_bias(layer)),
    "conv_transpose": _conv_transpose,
    "embedding": lambda layer, form: PLAIN[:1],
    "layer_norm": lambda layer, form: PLAIN,
    "rms_norm": lambda layer, form: PLAIN,
    "group_norm": lambda layer, form: PLAIN,
    "batch_norm": lambda layer, form: (
        *PLAIN,
        row("running_mean", "batch_state_index.0"),
        row("running_var", "batch_state_index.1"),
    ),
    "attention": _attention,
    "prelu": _prelu,
}
