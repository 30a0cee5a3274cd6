"""embedding_bag for JAX. Maths, shapes and source: bpx/layers/embedding_bag.py."""

import jax.numpy as jnp

from bpx.layers.embedding_bag import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers.embedding import wide

NEVER = {"mode": "drop", "wrap_negative_indices": False}  # neither out of range nor from the end


def _pick(indices, table):
    table = jnp.asarray(table)  # JAX may hand over a saved constant as a NumPy array
    return table.at[wide(indices)].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def _parts(indices, bags, num_bags, mode, padding_idx):
    """(kept (N 1), bag (N), which is none for what is left out, divisor (B 1))."""
    kept = jnp.full(indices.shape, True) if padding_idx is None else indices != padding_idx
    bag = jnp.where(kept, wide(bags), num_bags)
    if mode == "sum":
        return kept[:, None], bag, jnp.ones((num_bags, 1), jnp.int32)
    size = jnp.zeros(num_bags, jnp.int32).at[bag].add(1, **NEVER)
    return kept[:, None], bag, jnp.maximum(size, 1)[:, None]


def forward(indices, weight, bags, per_sample_weights, *, num_bags, mode, padding_idx):
    kept, bag, divisor = _parts(indices, bags, num_bags, mode, padding_idx)
    rows = at_least_float32(_pick(indices, weight))
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.astype(rows.dtype)[:, None]
    rows = jnp.where(kept, rows, 0)
    y = jnp.zeros((num_bags, rows.shape[1]), rows.dtype).at[bag].add(rows, **NEVER)
    outside = jnp.any(kept[:, 0] & ((bags < 0) | (bags >= num_bags)))
    return jnp.where(outside, jnp.nan, y / divisor.astype(y.dtype)).astype(weight.dtype), ()


def backward(dy, arrays, residuals, needs, *, num_bags, mode, padding_idx):
    # each[n] = dy[bags[n]] / size of the bag, 0 for what is in none
    # dweight[v] = sum of share[n] each[n] over the n with indices[n] = v
    # dshare[n] = each[n] weight[indices[n]]
    indices, weight, bags, shares = arrays
    kept, bag, divisor = _parts(indices, bags, num_bags, mode, padding_idx)
    dy = at_least_float32(dy)
    dy = dy / divisor.astype(dy.dtype)
    each = dy.at[bag].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    dweight = dshare = None
    if needs[1]:
        added = each if shares is None else each * shares.astype(each.dtype)[:, None]
        dweight = jnp.zeros(weight.shape, added.dtype).at[wide(indices)].add(added, **NEVER)
    if needs[3]:
        picked = jnp.where(kept, at_least_float32(_pick(indices, weight)), 0)
        dshare = (each * picked).sum(-1)
    return None, dweight, None, dshare


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.embedding_bag"),
        Kernel("plain", forward, backward),
    ),
)


def embedding_bag(
    indices, weight, bags, per_sample_weights=None, *, num_bags=1, mode="mean", padding_idx=None
):
    """Sums or means (num_bags D) of the rows of weight (V D) picked by indices (N, integers below
    V), each in the bag that bags (N, integers below num_bags) says; per_sample_weights (N) multiply
    the rows. What is picked by padding_idx has no part. An index out of range is an error where its
    value is known, NaN under jit. Maths: bpx/layers/embedding_bag.py."""
    return RULE(
        indices,
        weight,
        bags,
        per_sample_weights,
        num_bags=num_bags,
        mode=mode,
        padding_idx=padding_idx,
    )
