"""Recurrent networks with parameters as plain dicts under torch's names; see _module.py.

One rule runs one layer in one direction; layers, directions, dropout between layers and variable
lengths are arranged here, as torch.nn's modules do. `lengths` (B), each at most T, is for sequences
that are padded to one length: what follows an end has no part in the result, the rows of y after it
are 0, the final states are those at each sequence's own end, and the backward direction starts
there. A sequence of length 0 keeps its initial state.
"""

import dataclasses

import jax.numpy as jnp

from bpx.profiles import gate_rows
from bpx.spec import require
from bpx_jax import _nn_dropout, random
from bpx_jax._module import Module, first, layer, profiled_layer, within
from bpx_jax.layers import gru as _gru
from bpx_jax.layers import lstm as _lstm
from bpx_jax.layers import rnn as _rnn


@layer
class _Recurrent(Module):
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False

    def suffixes(self):
        """One for each run, in the order of the final states."""
        ends = ("", "_reverse") if self.bidirectional else ("",)
        return [[f"_l{i}{end}" for end in ends] for i in range(self.num_layers)]

    def shapes(self):
        rows, found = self.gates * self.hidden_size, {}
        for i, suffixes in enumerate(self.suffixes()):
            fan_in = self.hidden_size * len(suffixes) if i else self.input_size
            for end in suffixes:
                found[f"weight_ih{end}"] = (rows, fan_in)
                found[f"weight_hh{end}"] = (rows, self.hidden_size)
                if self.bias:
                    found[f"bias_ih{end}"] = found[f"bias_hh{end}"] = (rows,)
        return found

    def initializer(self, name):
        own = within(self.hidden_size)
        profile = getattr(self, "profile", None)  # a field of those that have some
        return first(self.entry, profile, name.rpartition("_l")[0], own)

    def init(self, key, dtype=None):
        params, profile = super().init(key, dtype), getattr(self, "profile", None)
        for name in [n for n in params if n.startswith("bias_ih")]:
            for rows, value in gate_rows(self.entry, profile, self.hidden_size):
                params[name] = params[name].at[rows].set(value)
        return params

    def step(self, params, x, state, key, training):
        return self.apply(params, x, key=key, training=training), state

    def apply(self, params, x, hx=None, lengths=None, *, key=None, training=False):
        """(y, final states): y (T B directions*H), of x (T B in); (B T ...) with batch_first,
        without B for one sequence. hx and the final states are (layers*directions B H), a pair
        (h, c) for LSTM; zero at first unless given."""
        x = jnp.asarray(x)
        require(
            x.ndim in (2, 3),
            f"{self.entry}: x has shape {x.shape}, expected (T B I), or (T I) for one sequence",
        )
        one, pair = x.ndim == 2, self.entry == "lstm"
        states = None if hx is None else tuple(hx) if pair else (hx,)
        if one:
            x = x[:, None]
            states = None if states is None else tuple(s[:, None] for s in states)
            lengths = None if lengths is None else jnp.reshape(lengths, (1,))
        elif self.batch_first:
            x = jnp.swapaxes(x, 0, 1)
        y, finals = self._layers(params, x, self._initial(x, states), lengths, key, training)
        if one:
            y, finals = y[:, 0], tuple(s[:, 0] for s in finals)
        elif self.batch_first:
            y = jnp.swapaxes(y, 0, 1)
        return y, finals if pair else finals[0]

    def _initial(self, x, states):
        count = 2 if self.entry == "lstm" else 1
        runs = self.num_layers * (1 + self.bidirectional)
        shape = (runs, x.shape[1], self.hidden_size)
        if states is None:
            return (jnp.zeros(shape, x.dtype),) * count
        require(
            len(states) == count, f"{self.entry}: hx holds {len(states)} arrays, expected {count}"
        )
        for s in states:
            require(s.shape == shape, f"{self.entry}: hx has shape {s.shape}, expected {shape}")
        return states

    def _layers(self, params, x, states, lengths, key, training):
        finals = []
        for i, suffixes in enumerate(self.suffixes()):
            if i and training and self.dropout:
                require(key is not None, f"{self.entry}: key is None, expected a key in training")
                x = _nn_dropout.dropout(x, random.fold_in(key, i), self.dropout)
            outputs = []
            for end in suffixes:
                back, own = end.endswith("_reverse"), tuple(s[len(finals)] for s in states)
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                weights = [params.get(name + end) for name in names]
                found = self._run(turned(x, lengths) if back else x, own, weights, lengths)
                finals.append(tuple(map(lambda s, h: last(s, h, lengths), found, own)))
                outputs.append(turned(found[0], lengths) if back else found[0])
            x = jnp.concatenate(outputs, -1) if self.bidirectional else outputs[0]
        return x, tuple(jnp.stack(s) for s in zip(*finals, strict=True))


@layer
class RNN(_Recurrent):
    """Elman's, as torch.nn.RNN."""

    nonlinearity: str = "tanh"
    entry, gates = "rnn", 1

    def _run(self, x, state, weights, lengths):
        return (_rnn.rnn(x, *state, *weights, lengths, nonlinearity=self.nonlinearity),)


@profiled_layer("gru", skip=("gates", "columns"))
@layer
class GRU(_Recurrent):
    """As torch.nn.GRU, gates r, z, n."""

    profile: str | None = dataclasses.field(default=None, kw_only=True)
    entry, gates = "gru", 3

    def _run(self, x, state, weights, lengths):
        return (_gru.gru(x, *state, *weights, lengths),)


@profiled_layer("lstm", skip=("gates", "columns"))
@layer
class LSTM(_Recurrent):
    """As torch.nn.LSTM without proj_size, gates i, f, g, o; hx and the final states are (h, c)."""

    profile: str | None = dataclasses.field(default=None, kw_only=True)
    entry, gates = "lstm", 4

    def _run(self, x, state, weights, lengths):
        return tuple(_lstm.lstm(x, *state, *weights, lengths))


def turned(x, lengths):
    """Each sequence of x (T B D) from its own end to its start."""
    if lengths is None:
        return jnp.flip(x, 0)
    t = jnp.arange(len(x), dtype=jnp.int32).reshape(-1, 1)
    length = jnp.asarray(lengths).astype(jnp.int32).reshape(1, -1)
    at = jnp.where(t < length, length - 1 - t, t)
    return jnp.take_along_axis(x, at[..., None], 0)


def last(states, initial, lengths):
    """The state at each sequence's own end, of states (T B H); the initial one for no steps."""
    if lengths is None:
        return states[-1]
    length = jnp.asarray(lengths).astype(jnp.int32).reshape(1, -1, 1)
    found = jnp.take_along_axis(states, jnp.maximum(length - 1, 0), 0)[0]
    return jnp.where(length[0] > 0, found, initial.astype(found.dtype))
