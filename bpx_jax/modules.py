"""Layers with parameters as plain dicts, `init` and `apply`; bpx_jax.nn has them too.

>>> from bpx_jax import nn
>>> net = nn.Sequential(nn.Linear(4, 8), nn.relu, nn.Linear(8, 3))
>>> params = net.init(0)
>>> {name: a.shape for name, a in nn.flat(params).items()}
{'0.bias': (8,), '0.weight': (8, 4), '2.bias': (3,), '2.weight': (3, 8)}

How parameters are drawn, and what a state is: bpx_jax/_module.py.
"""

from bpx_jax._module import Module, Sequential, flat, nested
from bpx_jax._modules_attention import MultiheadAttention
from bpx_jax._modules_layers import Conv, ConvTranspose, Dropout, Embedding, Linear
from bpx_jax._modules_norms import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from bpx_jax._modules_recurrent import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Embedding",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Linear",
    "Module",
    "MultiheadAttention",
    "RMSNorm",
    "Sequential",
    "flat",
    "nested",
]
