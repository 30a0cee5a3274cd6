"""Recurrent layers with the parameters of other libraries, re-exported by bpx_jax.nn."""

from bpx.profiles import recurrent_parameters
from bpx_jax.layers import gru as _gru
from bpx_jax.layers import lstm as _lstm


def lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, profile=None):
    """All hidden states and cell states (2 T B H) of x (T B I) from h0 and c0 (B H); w_ih (4H I),
    w_hh (4H H), biases (4H), the gates in the order i, f, g, o. profile: the parameters lie as in
    that library, (I 4H) and (H 4H) in flax and keras. Maths: bpx/layers/lstm.py."""
    weights = (w_ih, w_hh, b_ih, b_hh)
    weights = weights if profile is None else recurrent_parameters("lstm", profile, *weights)
    return _lstm.lstm(x, h0, c0, *weights, lengths)


def gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, lengths=None, *, profile=None):
    """All hidden states (T B H) of x (T B I) from h0 (B H); w_ih (3H I), w_hh (3H H), biases (3H),
    the gates in the order r, z, n. profile: the parameters lie as in that library, (I 3H) and
    (H 3H) in flax and keras, whose gates are z, r, n and whose bias is (2 3H), given as b_ih.
    Maths: bpx/layers/gru.py."""
    weights = (w_ih, w_hh, b_ih, b_hh)
    weights = weights if profile is None else recurrent_parameters("gru", profile, *weights)
    return _gru.gru(x, h0, *weights, lengths)
