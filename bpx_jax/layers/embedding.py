"""embedding for JAX. Maths, shapes and source: bpx/layers/embedding.py."""

import jax
import jax.numpy as jnp

from bpx.layers.embedding import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def wide(indices):
    """Indices in a dtype that holds the size of any table."""
    return indices.astype(jnp.int32) if indices.dtype.itemsize < 4 else indices


def forward(indices, weight, *, padding_idx):
    index = wide(indices)
    table = jnp.asarray(weight)  # JAX may hand over a saved constant as a NumPy array
    y = table.at[index].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    if padding_idx is not None:  # a constant to autodiff; the values are equal
        y = jnp.where((index == padding_idx)[..., None], jax.lax.stop_gradient(y), y)
    return y, ()


def backward(dy, arrays, residuals, needs, *, padding_idx):
    # dweight[v] = sum of dy[n] over the n with indices[n] = v, and 0 for v = padding_idx
    indices, weight = arrays
    each = at_least_float32(dy)
    zeros = jnp.zeros(weight.shape, each.dtype)
    dweight = zeros.at[wide(indices)].add(each, mode="drop", wrap_negative_indices=False)
    return None, dweight if padding_idx is None else dweight.at[padding_idx].set(0)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.embedding"),
        Kernel("plain", forward, backward),
    ),
)


def embedding(indices, weight, *, padding_idx=None):
    """Rows (*N D) of weight (V D) picked by indices (*N, integers below V); the row padding_idx
    gets no gradient. An index out of range is an error where its value is known, a row of NaN
    under jit."""
    return RULE(indices, weight, padding_idx=padding_idx)
