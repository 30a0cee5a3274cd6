"""torch's own recurrent layers, for bpx_torch/oracles.py.

torch's gru and rnn return every hidden state; its lstm the last cell state alone, so that the
oracle of lstm is a loop over torch's lstm_cell.
"""

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


def _rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, nonlinearity="tanh"):
    f = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[nonlinearity]
    return _layer(f, x, h0, w_ih, w_hh, b_ih, b_hh)


def _gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None):
    return _layer(torch.gru, x, h0, w_ih, w_hh, b_ih, b_hh)


def _lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None):
    weights = _weights(w_ih, w_hh, *_biases(b_ih, b_hh, w_ih))
    state, steps = (h0, c0), []
    for x_t in x:
        state = torch.lstm_cell(x_t, state, *weights)
        steps.append(torch.stack(state))
    return torch.stack(steps, 1)


ORACLES = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}
DIFFERS: dict[str, dict[str, str]] = {}
