"""Attention under the name of jax.nn: values, gradients, signature, what is beyond it, refusals."""

import inspect

import numpy as np
import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import nn, random
from bpx_jax.layers.attention import attention

rng = np.random.default_rng(0)
B, T, S, N, K, H = 2, 5, 6, 4, 2, 3
SEEN = rng.random((1, 1, T, S)) > 0.3
SEEN[..., 0] = True
LENGTHS = {"key_value_seq_lengths": jnp.array([4, 6], jnp.int32)}


def randn(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


OPTIONS = [
    {"is_causal": True},
    {"local_window_size": 2, "scale": 0.3},
    {"local_window_size": (1, 0), "bias": (1, N, T, S)},
    {"bias": (2, 1, 1, S), "mask": SEEN},
    LENGTHS,
    {**LENGTHS, "query_seq_lengths": jnp.array([3, 5], jnp.int32)},
    {**LENGTHS, "mask": SEEN},
    {**LENGTHS, "mask": SEEN, "bias": (1, 1, 1, S)},
]


@pytest.mark.parametrize("batched", [True, False])
def test_dot_product_attention(batched):
    """One program for all options. jax.nn's own computes its softmax in float32."""
    options = [o for o in OPTIONS if batched or "key_value_seq_lengths" not in o]
    options = [dict(o) for o in options if batched or o.get("bias", (1,))[0] == 1]
    given = []
    for o in options:
        shapes = ((B, T, N, H), (B, S, K, H), (B, S, K, H))
        arrays = [randn(*(s if batched else s[1:])) for s in shapes]
        if "bias" in o:
            arrays.append(randn(*o.pop("bias")))
        given.append((arrays, randn(*shapes[0][0 if batched else 1 :])))

    def run(f):
        def one(arrays, dy, o):
            y, pull = jax.vjp(lambda *a: f(*a, **o), *arrays)
            return y, *pull(dy)

        return jax.jit(lambda g: [one(*x, o) for x, o in zip(g, options, strict=True)])(given)

    ours = run(nn.dot_product_attention)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = run(jax.nn.dot_product_attention)
    for g, w in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0, atol=64 * 2.0**-24 * np.abs(w).max())


def test_beyond_jax():
    q, k, v = randn(B, T, N, H), randn(B, S, K, H), randn(B, S, K, 7)
    key = random.key(3)
    y = nn.dot_product_attention(q, k, v, softcap=0.7, dropout_rate=0.5, dropout_key=key)
    turned = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))
    want = attention(*turned, None, None, random.key_data(key), softcap=0.7, dropout_p=0.5)
    np.testing.assert_array_equal(y, jnp.swapaxes(want, 1, 2))
    assert not np.array_equal(y, nn.dot_product_attention(q, k, v, softcap=0.7))
    none = nn.dot_product_attention(q, k, v, mask=jnp.zeros((1, 1, 1, S), bool))
    assert not none.any()


def test_signature():
    ours, theirs = (inspect.signature(m.dot_product_attention).parameters for m in (nn, jax.nn))
    assert [(p.name, p.kind, p.default) for p in theirs.values()] == [
        (p.name, p.kind, p.default) for p in list(ours.values())[: len(theirs)]
    ]
    assert list(ours)[len(theirs) :] == ["softcap", "dropout_rate", "dropout_key"]


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("return_residual is True, expected False", {"return_residual": True}),
        ("implementation is 'cudnn', expected None or 'xla'", {"implementation": "cudnn"}),
        (
            "key_value_seq_lengths is int32 of shape (3,)",
            {"key_value_seq_lengths": jnp.ones(3, "int32")},
        ),
        ("query_seq_lengths is float32 of", {"query_seq_lengths": jnp.ones(2, "float32")}),
        ("mask has dtype float32, expected bool", {"mask": jnp.ones((T, S), "float32")}),
        ("window is (-1, -1), expected None or", {"local_window_size": -1}),
        ("softcap is -1, expected None or a number above 0", {"softcap": -1}),
        ("dropout_key is None, expected a key", {"dropout_rate": 0.1}),
    ],
)
def test_bad_input(message, options):
    with pytest.raises(SpecError) as caught:
        nn.dot_product_attention(randn(B, T, N, H), randn(B, S, K, H), randn(B, S, K, H), **options)
    assert message in str(caught.value), str(caught.value)


def test_bad_shapes():
    q, k = randn(B, T, N, H), randn(B, S, 3, H)
    with pytest.raises(SpecError, match="query has 4 heads, expected a multiple of key's 3"):
        nn.dot_product_attention(q, k, k)
    with pytest.raises(SpecError, match=r"have \[4, 3, 4\] dims, expected 4 each, or 3"):
        nn.dot_product_attention(q, k[0], k)
