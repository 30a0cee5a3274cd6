"""Planted bugs: each caught by the check responsible, no alarm from its correct twin. The whole zoo
is `python -m bpx verify --self-test`; here the plants of torch, and some of JAX's."""

import importlib

import pytest

from bpx.verify.zoo import judge

pytestmark = pytest.mark.slow

JAX_ROWS = (25, 32, 47, 61, 79, 83, 95)


def plants(framework):
    try:
        found = importlib.import_module(f"bpx_{framework}.zoo").PLANTS
    except ImportError:
        return [pytest.param(None, marks=pytest.mark.skip(f"{framework} is not installed"))]
    kept = [p for p in found if framework == "torch" or p.row in JAX_ROWS]
    return [pytest.param(p, id=f"{p.row}") for p in kept]


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
