"""The Pallas kernels as Mosaic GPU takes them: lowered for a GPU where there is none."""

import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx_jax import RULES
from bpx_jax.kernels.pallas import _rows

ROWS = 1100  # some programs have fewer rows than others
# columns, and the widths of the arguments behind the first; 0 is an index for each row
SIZES = {
    "layer_norm": (1024, (1024, 1024)),
    "rms_norm": (1024, (1024,)),
    "softmax": (1024, ()),
    "log_softmax": (1024, ()),
    "cross_entropy": (1024, (0, None)),
}
LONG = {"softmax": (8320, ()), "log_softmax": (8320, ()), "cross_entropy": (8320, (0, 8320))}
NAMES = tuple(n for n, r in RULES.items() if "pallas" in [k.name for k in r.kernels])


def test_every_kernel_is_here():
    assert set(NAMES) == set(SIZES)


@pytest.mark.parametrize(
    ("name", "sizes", "dtype"),
    [(n, s, jnp.bfloat16) for n, s in (*SIZES.items(), *LONG.items())]
    + [(n, s, jnp.float32) for n, s in SIZES.items()],
)
def test_it_lowers_to_mosaic(name, sizes, dtype, monkeypatch):
    monkeypatch.setattr(_rows, "call", _rows.mosaic)
    columns, others = sizes
    arrays = [jax.ShapeDtypeStruct((ROWS, columns), dtype)]
    for n in others:
        index = jax.ShapeDtypeStruct((ROWS,), jnp.int32)
        arrays.append(None if n is None else jax.ShapeDtypeStruct((n,), dtype) if n else index)

    def both(*arrays):
        y, back = jax.vjp(RULES[name], *arrays)
        return y, back(jnp.ones_like(y))

    with rule.use("pallas", interpret=True):
        traced = jax.jit(both).trace(*arrays)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 2, "forward and backward"
