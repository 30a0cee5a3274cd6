"""How many threads of XLA a loop wakes follows from what it took before; its results do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bpx import rule
from bpx_jax import RULES
from bpx_jax.kernels.cpu import _ffi

if (why := _ffi.elsewhere() or _ffi.available()) is not None:
    pytest.skip(f"no native core for JAX here: {why}", allow_module_level=True)

rng = np.random.default_rng(7)


def draw(*shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


CASES = {
    # a loop of some microseconds, which the caller alone runs from the second time on
    "short": ("attention", (draw(2, 3, 5, 7), draw(2, 3, 6, 7), draw(2, 3, 6, 4))),
    # one of milliseconds, cut into many chunks
    "long": ("group_norm", (draw(9, 32, 3001), draw(32), draw(32))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batched", [False, True])
def test_every_call_gives_the_same_bits(case, batched):
    name, arrays = CASES[case]
    absent = (None,) * (len(RULES[name].spec.args) - len(arrays))
    options = {"num_groups": 8} if name == "group_norm" else {}

    def both(*arrays):
        y, back = jax.vjp(lambda *a: RULES[name](*a, *absent, **options), *arrays)
        return y, *back(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    f = jax.jit(jax.vmap(both) if batched else both)
    if batched:
        arrays = tuple(jnp.stack([a, a + 1]) for a in arrays)
    with rule.use("cpu"):
        first, *others = (f(*arrays) for _ in range(8))
    with rule.use("plain"):
        plain = jax.jit(jax.vmap(both) if batched else both)(*arrays)
    for other in others:
        assert all((a == b).all() for a, b in zip(first, other, strict=True)), "other bits"
    for got, want in zip(first, plain, strict=True):
        # what a chunk left out, or done for another, would be off by is of the size of the values
        assert np.abs(got - want).max() < 1e-3 * np.abs(want).max()
