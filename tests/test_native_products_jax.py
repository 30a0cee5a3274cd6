"""Native kernels beside XLA's products in JAX: when they run, and that they are right then."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx import rule
from bpx.verify import reference
from bpx_jax import RULES
from bpx_jax.kernels.cpu import _ffi, gated_linear, info_nce

pytestmark = pytest.mark.skipif(_ffi.available() is not None, reason=str(_ffi.available()))


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def derivatives(kernel, name, arrays, options, dy):
    """(y, *gradients) of the rule by one kernel."""
    given = [a for a in arrays if a is not None]

    def run(*given):
        left = iter(given)
        with rule.use(kernel):
            return RULES[name](*(None if a is None else next(left) for a in arrays), **options)

    y, back = jax.vjp(run, *given)
    return y, *back(dy)


def alike(name, arrays, options):
    shape = jax.eval_shape(
        lambda: RULES[name].forward(*arrays, **RULES[name].spec.complete(options))[0]
    ).shape
    dy = jnp.asarray(np.random.default_rng(3).normal(size=shape))
    found = [derivatives(k, name, arrays, options, dy) for k in ("cpu", "plain")]
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


CASES = {
    c.name: c
    for c in reference.cases(RULES["gated_linear"].spec)
    if all(a is None or a.size for a in c.arrays.values())
}


@pytest.mark.parametrize("case", CASES)
def test_gated_linear_by_the_core_for_every_unit(case, monkeypatch):
    monkeypatch.setattr(gated_linear, "PAYS", 0)
    case = CASES[case]
    arrays = [None if a is None else jnp.asarray(a) for a in case.arrays.values()]
    alike("gated_linear", arrays, dict(case.options))


def test_where_gated_linear_leaves_the_unit_to_xla(monkeypatch):
    x, weight = jnp.ones((3, 5)), jnp.ones((2, 5))
    said = "XLA's own silu is as fast for 15 elements"
    with pytest.raises(rule.SpecError, match=said), rule.use("cpu"):
        RULES["gated_linear"](x, x, weight, None)
    with rule.use("cpu"):
        RULES["gated_linear"](x, x, weight, None, activation="gelu")
        monkeypatch.setattr(gated_linear, "PAYS", 15)
        RULES["gated_linear"](x, x, weight, None)


@pytest.mark.parametrize("few", [6, 7], ids=["XLA's product", "the core's"])
def test_info_nce_by_either_product(few, monkeypatch):
    monkeypatch.setattr(info_nce, "FEW", few)
    rng = np.random.default_rng(5)
    query, key = (jnp.asarray(rng.normal(size=(7, 4))) for _ in range(2))
    for reduction in ("mean", "none"):
        alike("info_nce", (query, key), {"temperature": 0.3, "reduction": reduction})
