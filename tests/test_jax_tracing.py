"""What JAX's tracing does to a call: traced options, weak types, export, and shard_map."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bpx
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import nn

X = np.random.default_rng(3).standard_normal((3, 4))


@pytest.mark.parametrize(
    ("name", "f"),
    {
        "layer_norm: eps": lambda v: nn.layer_norm(X, eps=v),
        "dropout: rate": lambda v: nn.dropout(X, 0, v),
        "softmax: dim": lambda v: nn.softmax(X, v),
    }.items(),
)
def test_a_traced_option_is_named(name, f):
    message = rf"{name} is traced \(float\d\d\[\]\), expected a Python value, which jax.jit takes"
    with pytest.raises(SpecError, match=message):
        jax.jit(f)(0.1)


def test_a_scalar_array_is_an_option():
    y = nn.layer_norm(X, eps=jnp.asarray(0.25))
    np.testing.assert_array_equal(y, nn.layer_norm(X, eps=0.25))


def test_no_result_is_weakly_typed():
    """Weak inputs give strong results and gradients: a scan's carry keeps its type after the first
    step, and a jitted function that is fed its own result is compiled for it once more, not more
    often."""
    weak = jax.lax.full((), 2.0)
    for x in (2.0, jnp.asarray(2.0), weak):
        assert not nn.sigmoid(x).weak_type
    assert not jax.grad(nn.sigmoid)(2.0).weak_type
    carry = jax.jit(lambda x: jax.lax.scan(lambda c, _: (nn.tanh(c), None), x, None, length=3)[0])
    want = np.tanh(np.tanh(np.tanh(2.0)))
    np.testing.assert_allclose(carry(2.0), want, rtol=1e-14)
    assert nn.tanh(np.float32(2)).dtype == jnp.float32


def test_export_of_a_rule_with_a_native_kernel():
    """The native kernel is no stable custom call: JAX refuses it and names it; with
    bpx.use("plain") the program is portable, and its backward is the hand-written one."""
    pytest.importorskip("flatbuffers")
    from jax import export

    f = jax.jit(lambda x: nn.layer_norm(x))
    if "bpx_call" in f.lower(X).as_text():
        with pytest.raises(ValueError, match="custom_call @bpx_call"):
            export.export(jax.jit(lambda x: nn.layer_norm(x)))(X)
    with bpx.use("plain"):
        again = export.deserialize(
            export.export(jax.jit(lambda x: nn.layer_norm(x)))(X).serialize(vjp_order=1)
        )
    np.testing.assert_allclose(again.call(X), nn.layer_norm(X), rtol=1e-12, atol=1e-12)
    dy = np.random.default_rng(4).standard_normal(X.shape)
    got, want = (jax.grad(lambda x, g=g: (g(x) * dy).sum())(X) for g in (again.call, nn.layer_norm))
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


SHARDED = """
import jax, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from bpx_jax import nn

jax.config.update("jax_enable_x64", True)
mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(3)
gru = nn.GRU(4, 3)
params = gru.init(1)
order = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

def network(x, indices, table, weight, bias, *recurrent):
    h = nn.linear(x + nn.embedding(indices, table), weight, bias)
    h = nn.layer_norm(h, bias, None)
    return nn.gru(h[None], np.zeros((h.shape[0], 3)), *recurrent)[0]

args = (
    rng.standard_normal((16, 4)), rng.integers(0, 5, 16), rng.standard_normal((5, 4)),
    rng.standard_normal((4, 4)), rng.standard_normal(4), *(params[n + "_l0"] for n in order),
)
specs = (P("d"), P("d"), *[P()] * 7)
floats = tuple(i for i in range(9) if i != 1)
dy = rng.standard_normal((16, 3))

def grads(f):
    return jax.jit(jax.grad(lambda *a: (f(*a) * dy).sum(), floats))(*args)

def inside(*args):
    return jax.lax.psum((network(*args) ** 2).sum(), "d")

outer = jax.shard_map(network, mesh=mesh, in_specs=specs, out_specs=P("d"))
out = tuple(specs[i] for i in floats)
inner = jax.shard_map(jax.grad(inside, floats), mesh=mesh, in_specs=specs, out_specs=out)
whole = jax.jit(jax.grad(lambda *a: (network(*a) ** 2).sum(), floats))
assert jax.device_count() == 8
for got, want in ((grads(outer), grads(network)), (jax.jit(inner)(*args), whole(*args))):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-11, atol=1e-12)
print("equal")
"""


def test_shard_map_with_replicated_weights():
    """Over 8 devices: x is split, the weights are on each; their gradients are summed, with
    jax.grad outside of shard_map and inside."""
    root = Path(__file__).resolve().parent.parent
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    env = {**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
