"""What attention keeps and makes: memory, the size of programs, and dropout's bits."""

import importlib

import numpy as np
import pytest

from bpx import random
from bpx.layers.attention import SPEC

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax.layers import attention as in_jax
from bpx_torch.layers import attention as in_torch

KEY = np.array([5, 9], np.uint32)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s) for s in shapes]


def qkv(b, h, k, t, s, d, e, seed=0):
    return arrays((b, h, t, d), (b, k, s, d), (b, k, s, e), (b, h, t, e), seed=seed)


OPTIONS = {"softcap": 3.0, "dropout_p": 0.25, "causal": True}


def test_torch_keeps_memory_linear_in_the_length():
    def kept(t):
        *given, _ = (torch.from_numpy(a) for a in qkv(1, 2, 1, t, t, 4, 4))
        leaves = [a.requires_grad_() for a in given]
        leaves.append(torch.randn(1, 2, 1, t, dtype=torch.float64, requires_grad=True))
        mask = torch.ones(1, 1, 1, t, dtype=torch.bool)
        sizes = {}

        def pack(a):
            sizes[a.untyped_storage().data_ptr()] = a.untyped_storage().nbytes()
            return a

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda a: a):
            y = in_torch.RULE(*leaves, mask, torch.from_numpy(KEY), **OPTIONS)
        return y, sum(sizes.values())

    (y, small), (_, large) = kept(150), kept(300)
    per_position = 8 * (2 * 4 + 4 + 4 + 2) + 1 + 8 * (2 * 4 + 4)  # arguments; y, top, mass
    assert small == 150 * per_position + KEY.nbytes
    assert large == 300 * per_position + KEY.nbytes
    y.sum().backward()


def test_jax_makes_no_matrix_at_all():
    t = 600
    *given, dy = qkv(1, 2, 1, t, t, 4, 4)
    given += arrays((1, 2, 1, t))
    mask, key = np.ones((1, 1, 1, t), bool), jnp.asarray(KEY)
    f = lambda *a: in_jax.RULE(*a, mask, key, **OPTIONS)  # noqa: E731
    _, new = jax.eval_shape(lambda *a: in_jax.RULE.forward(*a, mask, key, **OPTIONS), *given)
    assert [r.shape for r in new] == [(1, 2, t, 4), (1, 2, t), (1, 2, t)]
    largest = 0

    def look(jaxpr):
        nonlocal largest
        for eqn in jaxpr.eqns:
            largest = max([largest, *(v.aval.size for v in eqn.outvars)])
            for p in eqn.params.values():
                for inner in p if isinstance(p, tuple | list) else (p,):
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        look(inner)

    look(jax.make_jaxpr(lambda *a: jax.vjp(f, *a)[1](dy))(*given).jaxpr)
    assert 128 * 256 <= largest <= 2 * 2 * 128 * 256  # two words for each place of a block, no more
    assert largest < t * t


def test_words_are_the_same_everywhere():
    rows = np.array([[0], [7], [2**31 + 5], [2**32 - 1], [2**32 + 7]])
    columns = np.array([0, 1, 2**31, 2**32 - 1])
    want = random.words(KEY, rows, columns)
    assert want.shape == (5, 4)
    assert len(np.unique(want[:4])) == 16
    np.testing.assert_array_equal(want[4], want[1])  # modulo 2^32
    given = (torch.from_numpy(KEY), torch.from_numpy(rows), torch.from_numpy(columns))
    ours = importlib.import_module("bpx_torch.random").words(*given)
    np.testing.assert_array_equal(ours.numpy().view(np.uint32), want)
    theirs = importlib.import_module("bpx_jax.random").words(
        jnp.asarray(KEY), *(jnp.asarray(a & random.MASK, jnp.uint32) for a in (rows, columns[None]))
    )
    np.testing.assert_array_equal(theirs, want)
    one = random.threefry2x32(KEY, np.array([7], np.uint32), np.array([1], np.uint32))
    assert want[1, 1] == (one[0] ^ one[1])[0]


@pytest.mark.parametrize("p", [0.0, 0.3, 0.999, 1.0])
def test_one_key_gives_one_mask(p):
    """With equal scores and the identity for values, y is the mask itself, scaled."""
    t, s = 7, 5
    q, k, v = (
        np.zeros((2, 4, t, 3)),
        np.ones((2, 2, s, 3)),
        np.broadcast_to(np.eye(s), (2, 2, s, s)),
    )
    want = SPEC.forward(q, k, v, None, None, KEY, **SPEC.complete({"dropout_p": p}))[0] != 0
    given = [torch.from_numpy(np.array(a)) for a in (q, k, v)]
    for size in ((3, 2), (128, 128)):
        rule = in_torch.RULE.with_plain(in_torch.plain(size))
        y = rule(*given, None, None, torch.from_numpy(KEY), dropout_p=p)
        np.testing.assert_array_equal(y.numpy() != 0, want)
    rule = in_jax.RULE.with_plain(in_jax.plain((3, 2)))
    y = jax.jit(lambda *a: rule(*a, None, None, KEY, dropout_p=p))(q, k, v)
    np.testing.assert_array_equal(np.asarray(y) != 0, want)
    n = want.size
    assert abs(want.mean() - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / n) + 1 / n
    if 0 < p < 0.9:
        other = SPEC.forward(
            q, k, v, None, None, KEY + np.uint32(1), **SPEC.complete({"dropout_p": p})
        )
        assert ((other[0] != 0) != want).any()
        assert len(np.unique(want.reshape(-1, s), axis=0)) > 5, "rows share a mask"


def test_dropout_keeps_the_mean():
    t, p = 20_000, 0.4
    values = np.array([1.0, -2.0, 5.0, 0.5])
    q, k = np.zeros((1, 1, t, 1)), np.zeros((1, 1, 4, 1))
    given = [torch.from_numpy(a) for a in (q, k, values.reshape(1, 1, 4, 1))]
    y = in_torch.RULE(*given, None, None, torch.from_numpy(KEY), dropout_p=p).flatten()
    spread = np.sqrt(p / (1 - p) * (values**2).sum() / 16)  # of one row
    assert abs(y.mean().item() - values.mean()) <= 5 * spread / np.sqrt(t)
    assert abs(y.std().item() / spread - 1) <= 0.03


def test_jax_compiles_one_block_program_for_any_length():
    """The program does not grow with the number of blocks."""
    lines = []
    for t in (512, 2048):
        shape = jax.ShapeDtypeStruct((1, 1, t, 4), jnp.float32)
        f = lambda q, k, v: in_jax.attention(q, k, v, causal=True)  # noqa: E731
        lines.append(len(jax.jit(f).lower(shape, shape, shape).as_text().splitlines()))
    assert lines[0] == lines[1]
