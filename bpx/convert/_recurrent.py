"""Rows of recurrent cells. Gates are stacked along axis 0 in torch and equinox, along axis 1 in
flax.nnx, always in the order i f g o (LSTM) and r z n (GRU)."""

from __future__ import annotations

import numpy as np

from bpx.convert._arrays import Array, added, nonzero
from bpx.convert._rows import Arrays, Row, row
from bpx.spec import require

TWO = "torch has two biases where {} has their sum"
LSTM_GATES = ("i", "f", "g", "o")


def split(a: Array, count: int) -> list[Array]:
    return np.split(a, count)


def names(end: str) -> tuple[str, str, str, str]:
    """torch's names of one run: weight_ih_l0, ..., or those of a cell, without an end."""
    return f"weight_ih{end}", f"weight_hh{end}", f"bias_ih{end}", f"bias_hh{end}"


def one_bias(b_ih: Array, b_hh: Array) -> Arrays:
    return (added(b_ih, b_hh),)


def two_biases(b: Array) -> Arrays:
    return b, np.zeros_like(b)


def nnx_lstm(prefix: str, end: str, optimized: bool) -> tuple[Row, ...]:
    w_ih, w_hh, b_ih, b_hh = names(end)
    lost = TWO.format("flax.nnx's LSTM")
    if optimized:
        return (
            row(w_ih, f"{prefix}dense_i.kernel", np.transpose),
            row(w_hh, f"{prefix}dense_h.kernel", np.transpose),
            Row((b_ih, b_hh), (f"{prefix}dense_h.bias",), one_bias, two_biases, lost),
        )
    # a cell of eight small matrices; "if" is a word of Python, so that one is "if_"
    inside = [f"{prefix}i{g}{'_' if g == 'f' else ''}.kernel" for g in LSTM_GATES]
    hidden = [f"{prefix}h{g}.kernel" for g in LSTM_GATES]
    biases = [f"{prefix}h{g}.bias" for g in LSTM_GATES]

    def gates(a: Array) -> Arrays:
        return tuple(part.T for part in split(a, 4))

    def stacked(*parts: Array) -> Arrays:
        return (np.concatenate([p.T for p in parts]),)

    return (
        Row((w_ih,), tuple(inside), gates, stacked),
        Row((w_hh,), tuple(hidden), gates, stacked),
        Row(
            (b_ih, b_hh),
            tuple(biases),
            lambda a, b: tuple(split(added(a, b), 4)),
            lambda *parts: two_biases(np.concatenate(parts)),
            lost,
        ),
    )


def nnx_gru(prefix: str, end: str) -> tuple[Row, ...]:
    w_ih, w_hh, b_ih, b_hh = names(end)

    def merged(a: Array, b: Array) -> Arrays:
        require(
            not nonzero(split(b, 3)[2]),
            f"convert: {b_hh} is not 0 for the gate n, expected 0 "
            "(flax.nnx's GRUCell has no bias there)",
        )
        return one_bias(a, b)

    return (
        row(w_ih, f"{prefix}dense_i.kernel", np.transpose),
        row(w_hh, f"{prefix}dense_h.kernel", np.transpose),
        Row(
            (b_ih, b_hh),
            (f"{prefix}dense_i.bias",),
            merged,
            two_biases,
            TWO.format("flax.nnx's GRUCell"),
        ),
    )


def nnx_rnn(prefix: str, end: str) -> tuple[Row, ...]:
    w_ih, w_hh, b_ih, b_hh = names(end)
    return (
        row(w_ih, f"{prefix}dense_i.kernel", np.transpose),
        row(w_hh, f"{prefix}dense_h.kernel", np.transpose),
        Row(
            (b_ih, b_hh),
            (f"{prefix}dense_i.bias",),
            one_bias,
            two_biases,
            TWO.format("flax.nnx's SimpleCell"),
        ),
    )


def equinox_lstm(prefix: str, end: str) -> tuple[Row, ...]:
    w_ih, w_hh, b_ih, b_hh = names(end)
    return (
        row(w_ih, f"{prefix}weight_ih"),
        row(w_hh, f"{prefix}weight_hh"),
        Row(
            (b_ih, b_hh),
            (f"{prefix}bias",),
            one_bias,
            two_biases,
            TWO.format("equinox's LSTMCell"),
        ),
    )


def equinox_gru(prefix: str, end: str) -> tuple[Row, ...]:
    """equinox keeps the second bias of the gate n, which r multiplies, apart: bias_n."""
    w_ih, w_hh, b_ih, b_hh = names(end)

    def to(a: Array, b: Array) -> Arrays:
        outer, (r, z, n) = split(a, 3), split(b, 3)
        return np.concatenate([added(outer[0], r), added(outer[1], z), outer[2]]), n

    def back(bias: Array, bias_n: Array) -> Arrays:
        zero = np.zeros_like(bias_n)
        return bias, np.concatenate([zero, zero, bias_n])

    return (
        row(w_ih, f"{prefix}weight_ih"),
        row(w_hh, f"{prefix}weight_hh"),
        Row(
            (b_ih, b_hh),
            (f"{prefix}bias", f"{prefix}bias_n"),
            to,
            back,
            TWO.format("equinox's GRUCell (for the gates r and z)"),
        ),
    )


def ends(layers: int, directions: int) -> list[str]:
    """The end of torch's names of each run, in the order of the final states."""
    both = ("", "_reverse")[:directions]
    return [f"_l{i}{end}" for i in range(layers) for end in both]
