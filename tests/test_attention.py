"""Attention beyond its record: the boundaries of blocks, and rows that see nothing."""

import importlib
import itertools

import numpy as np
import pytest

from bpx.layers._attention import pairs
from bpx.layers.attention import SPEC
from bpx.rule import use as using
from bpx.verify.finding import compare
from bpx.verify.legs import verify_backward, verify_forward
from bpx.verify.reference import Reference, cases
from bpx.verify.report import Report

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy
F = torch.nn.functional

from bpx_jax.layers import attention as in_jax
from bpx_torch.layers import attention as in_torch


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s) for s in shapes]


def qkv(b, h, k, t, s, d, e, seed=0):
    return arrays((b, h, t, d), (b, k, s, d), (b, k, s, e), (b, h, t, e), seed=seed)


def torch_pull(f, dy, *args):
    """y and the gradients of args under torch, as arrays."""
    leaves = [torch.from_numpy(np.array(a)).requires_grad_() for a in args]
    y = f(*leaves)
    grads = torch.autograd.grad(y, leaves, torch.from_numpy(np.array(dy)))
    return [y.detach().numpy(), *(g.numpy() for g in grads)]


def jax_pull(f, dy, *args):
    y, pull = jax.jit(lambda *a: (lambda y, p: (y, p(dy)))(*jax.vjp(f, *a)))(*args)
    return [np.asarray(a) for a in (y, *pull)]


def close(got, want, unit=2.0**-52, factor=64):
    """Equal to `factor` roundings of the largest element: what sums of this length give."""
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=factor * unit * np.abs(w).max())


@pytest.mark.parametrize("t", [0, 1, 4, 5, 7])
@pytest.mark.parametrize("s", [0, 1, 6, 7])
def test_every_visible_place_is_in_one_block(t, s):
    windows = (None, (0, 0), (2, 1), (None, 2), (1, None))
    for causal, window, size in itertools.product((False, True), windows, ((1, 1), (2, 3), (9, 9))):
        left, right = window or (None, None)
        offset = np.arange(s) - np.arange(t)[:, None]
        seen = np.ones((t, s), bool) if left is None else offset >= -left
        seen &= True if right is None else offset <= right
        seen &= offset <= 0 if causal else True
        count = np.zeros((t, s), int)
        for line in pairs(t, s, size, causal, window):
            for p in line:
                block = np.s_[p.i0 : p.i1, p.j0 : p.j1]
                count[block] += 1
                assert seen[block].any(), "a block that nobody sees"
                assert p.whole == seen[block].all()
        assert (count <= 1).all()
        assert (count[seen] == 1).all()


@pytest.mark.parametrize("size", [(2, 2), (1, 3), (3, 1)])
def test_torch_over_blocks(size):
    """Every case of the record, cut into blocks."""
    runner = importlib.import_module("bpx_torch.verify").RUNNER("cpu")
    rule = in_torch.RULE.with_plain(in_torch.plain(size))
    Report(verify_forward(rule, runner, "plain", "float64")).check()
    Report(verify_backward(rule, runner, "plain", "float64")).check()


def test_jax_over_blocks():
    """Every case of the record, cut into blocks; one program, since compiling is what costs."""
    runner = importlib.import_module("bpx_jax.verify").RUNNER("cpu")
    rule = in_jax.RULE.with_plain(in_jax.plain((2, 3)))
    references = [Reference(SPEC, c, runner, "float64") for c in cases(SPEC)]

    def one(reference, full, dy):
        floats = runner.floats(rule, full)

        def f(*values):
            given = dict(zip(floats, values, strict=True))
            given = [given.get(i, a) for i, a in enumerate(full)]
            return rule(*given, **reference.case.options)

        _, residuals = rule.forward(*full, **reference.case.options)
        y, pull = jax.vjp(f, *(full[i] for i in floats))
        return y, residuals, dict(zip(floats, pull(dy), strict=True))

    every = [(list(r.case.arrays.values()), r.dy) for r in references]
    found = jax.jit(lambda given: [one(r, *g) for r, g in zip(references, given, strict=True)])(
        every
    )
    for reference, (y, residuals, grads) in zip(references, found, strict=True):
        for got, refs in (
            ([y, *residuals], reference.forward_reference()),
            ([grads.get(i) for i in range(6)], reference.backward_reference()),
        ):
            for g, want, limit in zip(got, *refs, strict=True):
                g = None if g is None else np.asarray(g)
                _, ratio, message = compare(g, want, limit, "float64", reference.case.cancels)
                assert not message, f"{reference.case.name}: {message}"
                assert ratio <= 1, f"{reference.case.name}: {ratio:.3g} times the bound"


def textbook(q, k, v, bias, c, xp):
    s = c * xp.tanh(q @ xp.swapaxes(k, 2, 3) / c) + bias
    e = xp.exp(s)
    return e / e.sum(3, keepdims=True) @ v


def test_second_derivative_over_blocks():
    """What autograd makes of both halves, block by block, against autodiff of the formula."""
    *given, dy = qkv(1, 2, 2, 3, 5, 2, 3)
    given += arrays((1, 2, 1, 5), seed=1)

    def twice(rule, like):
        def loss(q, k, v, b):
            y = rule(q, k, v, b)
            return (y * y * like(dy)).sum()

        return loss

    tj = in_jax.RULE.with_plain(in_jax.plain((2, 2)))
    rules = (
        lambda q, k, v, b: tj(q, k, v, b, None, None, softcap=2.0, scale=1.0),
        lambda q, k, v, b: textbook(q, k, v, b, 2.0, jnp),
    )

    def second(rule):
        g = jax.grad(twice(rule, jnp.asarray), (0, 1, 2, 3))
        return jax.grad(lambda *a: sum((x * x * x).sum() for x in g(*a)), (0, 1, 2, 3))

    ours, want = jax.jit(lambda *a: [second(r)(*a) for r in rules])(*given)
    close(ours, want, factor=1024)
    tt = in_torch.RULE.with_plain(in_torch.plain((2, 2)))
    leaves = [torch.from_numpy(a).requires_grad_() for a in given]
    loss = twice(lambda *a: tt(*a, None, None, softcap=2.0, scale=1.0), torch.from_numpy)(*leaves)
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    found = torch.autograd.grad(sum((x * x * x).sum() for x in first), leaves)
    close([g.numpy() for g in found], [np.asarray(w) for w in want], factor=1024)


@pytest.mark.parametrize("causal", [False, True])
def test_boundaries_of_the_default_blocks(causal):
    """One more than a block of queries and of keys, against torch's and jax.nn's own."""
    h = 2
    *given, dy = qkv(1, h, h, 129, 257, 4, 4)
    none = (None,) * 3
    want = torch_pull(lambda *a: F.scaled_dot_product_attention(*a, is_causal=causal), dy, *given)
    close(
        torch_pull(lambda *a: in_torch.RULE(*a, *none, causal=causal), dy, *given), want, factor=512
    )
    close(jax_pull(lambda *a: in_jax.RULE(*a, *none, causal=causal), dy, *given), want, factor=512)
    turn = lambda a: jnp.swapaxes(a, 1, 2)  # noqa: E731
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        own = jax_pull(
            lambda *a: turn(jax.nn.dot_product_attention(*map(turn, a), is_causal=causal)),
            dy,
            *given,
        )
    close(own, want, unit=2.0**-24)  # of which the softmax is rounded to float32


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_rows_that_see_nothing(dtype):
    """By a mask, by a bias of -inf, and by both: 0, no gradient, and no NaN elsewhere."""
    *given, dy = qkv(1, 2, 2, 4, 5, 3, 2)
    mask = np.ones((1, 1, 4, 5), bool)
    mask[0, 0, 1] = False
    bias = np.random.default_rng(4).standard_normal((1, 1, 4, 5))
    bias[0, 0, 3] = -np.inf
    bias[0, 0, 2, :3] = -np.inf
    mask[0, 0, 2, 3:] = False
    empty, some = [1, 2, 3], [0]
    found = {}
    kernel = in_torch.plain((2, 2))
    leaves = [
        torch.from_numpy(a).to(getattr(torch, dtype)).requires_grad_() for a in (*given, bias)
    ]
    y = in_torch.RULE.with_plain(kernel)(*leaves, torch.from_numpy(mask), None)
    grads = torch.autograd.grad(y, leaves, torch.from_numpy(dy).to(y.dtype))
    found["torch"] = [a.detach().double().numpy() for a in (y, *grads)]
    rule = in_jax.RULE.with_plain(in_jax.plain((2, 2)))
    of = [jnp.asarray(a, dtype) for a in (*given, bias)]
    out = jax_pull(lambda *a: rule(*a, mask, None), jnp.asarray(dy, dtype), *of)
    found["jax"] = [a.astype(np.float64) for a in out]
    for name, (y, dq, dk, dv, db) in found.items():
        for a in (y, dq, db):
            assert not a[:, :, empty].any(), name
        for a in (y, dq, dk, dv, db):
            assert np.isfinite(a).all(), name
        for a in (y[:, :, some], dk, dv):
            assert a.any(), name


@pytest.mark.parametrize("kernel", ["cpu", "plain"])
@pytest.mark.parametrize("keys", [5, 300])
@pytest.mark.parametrize("pull", ["torch", "jax"])
def test_a_query_that_sees_one_key_alone_keeps_every_digit(pull, keys, kernel):
    """With scores of 1e4, whose rounding is 1e-12, p is 1 and 0 to the last bit."""
    query, key, value, dy = qkv(1, 1, 1, 3, keys, 4, 2)
    query = np.abs(query) + 1
    key[0, 0, 3] = 5e3
    rule = {"torch": in_torch, "jax": in_jax}[pull].RULE
    with using(kernel):
        f = {"torch": torch_pull, "jax": jax_pull}[pull]
        y, dquery, dkey, dvalue = f(lambda *a: rule(*a, None, None, None), dy, query, key, value)
    np.testing.assert_array_equal(y, np.broadcast_to(value[:, :, 3:4], y.shape))
    np.testing.assert_allclose(dvalue[0, 0, 3], dy[0, 0].sum(0), rtol=8 * 2.0**-52)
    assert not np.delete(dvalue, 3, 2).any()
    if keys == 5 or kernel == "cpu":  # a row in several blocks takes <dy, y>, summed otherwise
        assert not dquery.any()
        assert not dkey.any()
