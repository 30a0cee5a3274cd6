"""Planted bugs: each caught by the check responsible, no alarm from its correct twin. The whole zoo
is `python -m bpx verify --self-test`; here the plants of torch, and some of JAX's."""

import importlib

import pytest

from bpx.verify.kit_page import NOT_IN_JAX
from bpx.verify.zoo import judge

pytestmark = pytest.mark.slow

JAX_ROWS = (25, 32, 47, 61, 79, 83, 95, 98)
# every mechanism that was met
ROWS = {
    1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35, 37,
    38, 40, 41, 43, 44, 46, 47, 49, 50, 52, 53, 55, 56, 58, 59, 61, 62, 64, 65, 67, 68, 70, 71, 73,
    74, 76, 77, 79, 80, 82, 83, 85, 86, 88, 89, 91, 92, 94, 95, 97, 98, 100, 101, 103, 104, 106,
    107,
}  # fmt: skip


def plants(framework):
    try:
        found = importlib.import_module(f"bpx_{framework}.zoo").PLANTS
    except ImportError:
        return [pytest.param(None, marks=pytest.mark.skip(f"{framework} is not installed"))]
    kept = [p for p in found if framework == "torch" or p.row in JAX_ROWS]
    return [pytest.param(p, id=f"{p.row}") for p in kept]


def test_every_mechanism_is_planted_or_named_with_a_reason():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    torch, jax = (
        {p.row for p in importlib.import_module(f"bpx_{f}.zoo").PLANTS} for f in ("torch", "jax")
    )
    named = {row for rows in NOT_IN_JAX for row in rows}
    assert torch == ROWS
    assert jax | named == ROWS
    assert not jax & named


def held(plant, framework):
    (verdict,) = judge([plant], framework, {})
    assert not verdict.alarms
    assert verdict.caught, f"{plant.mechanism}: caught by {verdict.caught_by} alone"


@pytest.mark.parametrize("plant", plants("torch"))
def test_torch(plant):
    held(plant, "torch")


@pytest.mark.parametrize("plant", plants("jax"))
def test_jax(plant):
    import jax

    # the rules are written as people write them, without bpx's strictness
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        held(plant, "jax")
