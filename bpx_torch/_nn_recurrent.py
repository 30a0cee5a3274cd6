"""The recurrent layers of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. One rule runs one layer in one
direction; layers, directions, dropout between layers (torch's own) and packed sequences are
arranged here. A packed sequence runs padded, with its lengths: what follows a sequence's end has no
part in the result, nor in its gradient. A projection (proj_size) is refused. torch.compile refuses
every RNN, GRU and LSTM, these too, unless torch._dynamo.config.allow_rnn is set; it takes cells.
"""

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from bpx.spec import SpecError
from bpx_torch._profiles import profiled_module
from bpx_torch.layers import gru as _gru
from bpx_torch.layers import lstm as _lstm
from bpx_torch.layers import rnn as _rnn


class RNN(torch.nn.RNN):
    def forward(self, input, hx=None):
        def run(x, state, weights, lengths):
            return (_rnn.rnn(x, *state, *weights, lengths, nonlinearity=self.nonlinearity),)

        y, (h,) = _network(self, "rnn", run, 1, input, None if hx is None else (hx,))
        return y, h


@profiled_module("gru", skip=("gates", "columns"))
class GRU(torch.nn.GRU):
    def forward(self, input, hx=None):
        def run(x, state, weights, lengths):
            return (_gru.gru(x, *state, *weights, lengths),)

        y, (h,) = _network(self, "gru", run, 1, input, None if hx is None else (hx,))
        return y, h


@profiled_module("lstm", skip=("gates", "columns"))
class LSTM(torch.nn.LSTM):
    def forward(self, input, hx=None):
        def run(x, state, weights, lengths):
            if lowers:
                state = (s.to(torch.get_autocast_dtype("cpu")) for s in state)
            return tuple(_lstm.lstm(x, *state, *weights, lengths))

        lowers = _lowers_states(input)
        return _network(self, "lstm", run, 2, input, hx)


class RNNCell(torch.nn.RNNCell):
    def forward(self, input, hx=None):
        x, (h0,) = _cell_input(self, "rnn", input, None if hx is None else (hx,), 1)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        y = _rnn.rnn(x, h0, *weights, nonlinearity=self.nonlinearity).squeeze(0)
        return y if input.dim() == 2 else y[0]


@profiled_module("gru", skip=("gates", "columns"))
class GRUCell(torch.nn.GRUCell):
    def forward(self, input, hx=None):
        x, (h0,) = _cell_input(self, "gru", input, None if hx is None else (hx,), 1)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        y = _gru.gru(x, h0, *weights).squeeze(0)
        return y if input.dim() == 2 else y[0]


@profiled_module("lstm", skip=("gates", "columns"))
class LSTMCell(torch.nn.LSTMCell):
    def forward(self, input, hx=None):
        x, state = _cell_input(self, "lstm", input, hx, 2)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        h, c = _lstm.lstm(x, *state, *weights).squeeze(1)
        return (h, c) if input.dim() == 2 else (h[0], c[0])


def _lowers_states(input):
    """Whether torch hands its LSTM to one operation of oneDNN, of which autocast takes the states
    to its dtype too; in its own steps they stay as wide as they were given."""
    if isinstance(input, PackedSequence) or not input.is_cpu or not input.numel():
        return False
    if not torch.is_autocast_enabled("cpu") or not torch.backends.mkldnn.is_available():
        return False
    if input.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if input.dtype == torch.float16:
        return not torch.is_grad_enabled() and torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return input.dtype == torch.float32


def _network(module, entry, run, n_states, input, hx):
    """torch's forward: (output, final states), each of the latter (layers * directions, B, H).

    run(x, state, weights, lengths) is one layer in one direction: the sequence of each state.
    """
    if module.proj_size:
        raise SpecError(f"{entry}: proj_size is {module.proj_size}, expected 0")
    if isinstance(input, PackedSequence):
        data, sizes, order, back = input
        x, lengths = pad_packed_sequence(PackedSequence(data, sizes))  # the longest first
        if hx is not None and order is not None:
            hx = tuple(_taken(s, order) for s in hx)
        y, states = _layers(module, entry, run, n_states, x, hx, lengths.to(x.device))
        data = pack_padded_sequence(y, lengths).data
        states = states if back is None else tuple(_taken(s, back) for s in states)
        return PackedSequence(data, sizes, order, back), states
    if input.dim() not in (2, 3):
        raise SpecError(
            f"{entry}: input has shape {tuple(input.shape)}, expected (T B I), or (T I) for one "
            "sequence"
        )
    one = input.dim() == 2
    x = input.unsqueeze(1) if one else input.transpose(0, 1) if module.batch_first else input
    if one and hx is not None:
        hx = tuple(s.unsqueeze(1) for s in hx)
    y, states = _layers(module, entry, run, n_states, x, hx, None)
    if one:
        return y.squeeze(1), tuple(s.squeeze(1) for s in states)
    return (y.transpose(0, 1) if module.batch_first else y), states


def _layers(module, entry, run, n_states, x, hx, lengths):
    directions = 2 if module.bidirectional else 1
    hx = _initial(entry, x, hx, n_states, module.num_layers * directions, module.hidden_size)
    finals = []
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            weights = _weights(module, f"l{layer}" + ("_reverse" if direction else ""))
            state = tuple(s[len(finals)] for s in hx)
            found = run(_turned(x, lengths) if direction else x, state, weights, lengths)
            finals.append(tuple(_last(s, lengths) for s in found))
            outputs.append(_turned(found[0], lengths) if direction else found[0])
        x = torch.cat(outputs, -1) if directions > 1 else outputs[0]
        if module.dropout and layer + 1 < module.num_layers:
            x = _dropped(x, lengths, module.dropout, module.training)
    return x, tuple(torch.stack(s) for s in zip(*finals, strict=True))


def _dropped(x, lengths, p, training):
    """torch draws for the elements of a packed sequence alone."""
    if lengths is None:
        return torch.nn.functional.dropout(x, p, training)
    data, sizes, *_ = pack_padded_sequence(x, lengths.cpu())
    data = torch.nn.functional.dropout(data, p, training)
    return pad_packed_sequence(PackedSequence(data, sizes), total_length=len(x))[0]


def _weights(module, suffix):
    names = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if module.bias else [])
    found = [getattr(module, f"{name}_{suffix}") for name in names]
    return found if module.bias else [*found, None, None]


def _count(entry, hx, n_states):
    if len(hx) != n_states:
        raise SpecError(f"{entry}: hx holds {len(hx)} arrays, expected {n_states}, (h, c)")


def _initial(entry, x, hx, n_states, layers, hidden):
    """The initial states, zero by default, each (layers, B, H)."""
    shape = (layers, x.shape[1], hidden)
    if hx is None:
        return (x.new_zeros(shape),) * n_states
    _count(entry, hx, n_states)
    for s in hx:
        if tuple(s.shape) != shape:
            raise SpecError(f"{entry}: hx has shape {tuple(s.shape)}, expected {shape}")
    return hx


def _taken(states, order):
    return states.index_select(1, order)


def _last(states, lengths):
    """The state at each sequence's own end."""
    if lengths is None:
        return states[-1]
    return states[lengths - 1, torch.arange(len(lengths), device=lengths.device)]


def _turned(x, lengths):
    """Each sequence from its own end to its start."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    turned = torch.where(t < lengths, lengths - 1 - t, t)
    return x[turned, torch.arange(x.shape[1], device=x.device)]


def _cell_input(module, entry, input, hx, n_states):
    """One step (1 B I), and the states (B H), zero by default."""
    if input.dim() not in (1, 2):
        raise SpecError(
            f"{entry}: input has shape {tuple(input.shape)}, expected (B I), or (I) for one row"
        )
    one = input.dim() == 1
    x = input.unsqueeze(0) if one else input
    shape = (x.shape[0], module.hidden_size)
    if hx is None:
        return x.unsqueeze(0), (x.new_zeros(shape),) * n_states
    _count(entry, hx, n_states)
    expected = shape[1:] if one else shape
    for s in hx:
        if tuple(s.shape) != expected:
            raise SpecError(f"{entry}: hx has shape {tuple(s.shape)}, expected {expected}")
    return x.unsqueeze(0), tuple(s.unsqueeze(0) if one else s for s in hx)
