"""torch's own recurrent layers, for bpx_torch/oracles.py.

torch's gru and rnn return every hidden state; its lstm the last cell state alone, so that the
oracle of lstm is a loop over torch's lstm_cell.
"""

from functools import partial

import torch


def _weights(*weights):
    return [w for w in weights if w is not None]


def _biases(b_ih, b_hh, like):
    """torch has both biases or none."""
    if b_ih is None and b_hh is None:
        return None, None
    zero = like.new_zeros(like.shape[0])
    return (zero if b_ih is None else b_ih), (zero if b_hh is None else b_hh)


def _layer(f, x, h0, w_ih, w_hh, b_ih, b_hh):
    biases = _biases(b_ih, b_hh, w_ih)
    flags = (biases[0] is not None, 1, 0.0, False, False, False)
    return f(x, h0.unsqueeze(0), _weights(w_ih, w_hh, *biases), *flags)[0]


def _each(f, x, states, lengths, time):
    """f over each sequence's own steps, zeros after its end; `time` is the axis of steps in y."""
    ys = []
    for b, n in enumerate(lengths.tolist()):
        own = tuple(s[b : b + 1] for s in states)
        y = f(x[: max(n, 1), b : b + 1], *own).narrow(time, 0, n)
        rest = [*y.shape]
        rest[time] = len(x) - n
        ys.append(torch.cat([y, y.new_zeros(rest)], time))
    return torch.cat(ys, time + 1)


def _rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, nonlinearity="tanh"):
    f = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[nonlinearity]

    def layer(x, h0):
        return _layer(f, x, h0, w_ih, w_hh, b_ih, b_hh)

    return layer(x, h0) if lengths is None else _each(layer, x, (h0,), lengths, 0)


def _gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    def layer(x, h0):
        return _layer(torch.gru, x, h0, w_ih, w_hh, b_ih, b_hh)

    return layer(x, h0) if lengths is None else _each(layer, x, (h0,), lengths, 0)


def _lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None):
    if lengths is not None:
        layer = partial(_lstm, w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh)
        return _each(layer, x, (h0, c0), lengths, 1)
    weights = _weights(w_ih, w_hh, *_biases(b_ih, b_hh, w_ih))
    state, steps = (h0, c0), []
    for x_t in x:
        state = torch.lstm_cell(x_t, state, *weights)
        steps.append(torch.stack(state))
    return torch.stack(steps, 1)


ORACLES = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}
DIFFERS: dict[str, dict[str, str]] = {}
