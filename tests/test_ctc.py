"""CTC: the sum over alignments itself, torch's and optax's own, lengths that are arrays, edges."""

import importlib.util
import itertools

import numpy as np
import pytest

from bpx.losses.ctc import SPEC
from bpx.spec import SpecError

REDUCTIONS = ("mean", "sum", "none")


def brute(log_probs, labels, blank):
    """-log of the sum over every path that collapses to the labels."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        short = [c for c, _ in itertools.groupby(path)]
        if [c for c in short if c != blank] == list(labels):
            total += np.exp(sum(log_probs[t, c] for t, c in enumerate(path)))
    return -np.log(total)


@pytest.mark.parametrize("labels", [(0, 2), (2, 2), (), (0, 2, 0)])
def test_the_loss_is_the_sum_over_all_alignments(labels):
    x, blank = np.random.default_rng(0).standard_normal((5, 3)), 1
    targets = np.asarray([*labels, *[2] * (4 - len(labels))])
    y = SPEC.forward(
        x, targets, np.array(5), np.array(len(labels)), **{**SPEC.options, "blank": blank}
    )[0]
    assert np.isclose(y * max(len(labels), 1), brute(x, labels, blank), rtol=1e-13)


def draw(torch, n=3, t=7, c=6, s=3):
    """Logits, padded targets with repeats, and lengths that fall short of them."""
    x = torch.randn(t, n, c, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[3, 3, 1], [4, 1, -9], [2, 99, 0]])[:n, :s]
    return x, targets, torch.tensor([7, 5, 6])[:n], torch.tensor([3, 2, 1])[:n]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("blank", [0, 5])
def test_torch_agrees_behind_a_log_softmax(reduction, blank):
    torch = pytest.importorskip("torch")
    from bpx_torch import functional, nn

    F = torch.nn.functional
    x, targets, t_n, u_n = draw(torch)
    if blank == 5:
        targets = targets.masked_fill(targets == 5, 4)
    ours = functional.ctc_loss(x.log_softmax(-1), targets, t_n, u_n, blank, reduction)
    want = F.ctc_loss(x.log_softmax(-1), targets, t_n, u_n, blank, reduction)
    module = nn.CTCLoss(blank, reduction)(x.log_softmax(-1), targets, t_n.tolist(), u_n.tolist())
    torch.testing.assert_close(ours, want, rtol=1e-13, atol=0)
    assert torch.equal(module, ours)
    dy = torch.randn_like(ours)
    g, h = (torch.autograd.grad(y, x, dy)[0] for y in (ours, want))
    torch.testing.assert_close(g, h, rtol=1e-12, atol=1e-14)


def test_torch_adds_the_probabilities_that_the_derivative_does_not_have():
    """What the documentation says of torch's gradient, and that ours is the derivative."""
    torch = pytest.importorskip("torch")
    from bpx_torch import functional

    x, *rest = draw(torch)
    frames = torch.arange(7)[:, None] < rest[1]
    ours, own = (
        torch.autograd.grad(f(x, *rest, reduction="sum"), x)[0]
        for f in (functional.ctc_loss, torch.nn.functional.ctc_loss)
    )
    torch.testing.assert_close(own, ours + x.exp() * frames[..., None], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(-ours.sum(-1), frames.double(), rtol=1e-12, atol=1e-12)


def test_torch_concatenated_targets_and_one_sequence():
    torch = pytest.importorskip("torch")
    from bpx_torch import functional

    x, targets, t_n, u_n = draw(torch)
    rows = torch.cat([row[:n] for row, n in zip(targets, u_n, strict=True)])
    want = functional.ctc_loss(x, targets, t_n, u_n)
    assert torch.equal(functional.ctc_loss(x, rows, t_n, u_n), want)
    assert torch.equal(functional.ctc_loss(x, rows, tuple(t_n), tuple(u_n)), want)
    each = functional.ctc_loss(x, targets, t_n, u_n, reduction="none")
    for n, one in (((7,), (3,)), (7, 3), (torch.tensor(7), torch.tensor([3]))):
        alone = functional.ctc_loss(x[:, 0], targets[0], n, one, reduction="none")
        torch.testing.assert_close(alone, each[0], rtol=1e-14, atol=0)
    with pytest.raises(SpecError, match="targets has 6 labels, expected 5, the sum of"):
        functional.ctc_loss(x, rows, t_n, torch.tensor([3, 1, 1]))
    with pytest.raises(SpecError, match="log_probs has 4 axes"):
        functional.ctc_loss(x[None], targets, t_n, u_n)


def test_torch_impossible_alignments():
    torch = pytest.importorskip("torch")
    from bpx_torch import functional

    F = torch.nn.functional
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    arguments = torch.tensor([[1, 1, 2], [1, 2, 3]]), torch.tensor([3, 3]), torch.tensor([3, 3])
    for zeroed in (False, True):
        ys = [
            f(x.log_softmax(-1), *arguments, reduction="none", zero_infinity=zeroed)
            for f in (functional.ctc_loss, F.ctc_loss)
        ]
        torch.testing.assert_close(*ys, rtol=1e-13, atol=0)
        assert ys[0][0] == (0 if zeroed else torch.inf)
        g = [torch.autograd.grad(y.sum(), x)[0] for y in ys]
        torch.testing.assert_close(*g, equal_nan=True, rtol=1e-12, atol=1e-14)


def test_jax_equals_optax_and_takes_lengths_as_arrays():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    jnp = jax.numpy
    from bpx_jax.losses import ctc_loss

    rng = np.random.default_rng(4)
    logits = jnp.asarray(rng.standard_normal((3, 6, 5)), jnp.float32)
    labels = jnp.asarray([[3, 3, 1], [4, 1, 77], [2, -1, 0]])
    pad = (jnp.arange(6)[None] >= jnp.asarray([6, 5, 4])[:, None]).astype(jnp.float32)
    label_pad = (jnp.arange(3)[None] >= jnp.asarray([3, 2, 0])[:, None]).astype(jnp.float32)
    dy = jnp.asarray(rng.standard_normal(3), jnp.float32)

    def total(f):
        def loss(x, labels):
            return (f(x, pad, labels, label_pad, blank_id=0) * dy).sum()

        return jax.jit(jax.value_and_grad(loss))

    clean = jnp.where(label_pad == 0, labels, 0)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        want = total(optax.ctc_loss)(logits, clean)
    got = total(ctc_loss)(logits, labels)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6)
    short = ctc_loss(logits[:, :2], pad[:, :2], labels, label_pad)
    assert short[0] == 1e5
    assert np.isfinite(short).all()
    with pytest.raises(SpecError, match="label_paddings has shape"):
        ctc_loss(logits, pad, labels, label_pad[:, 1:])


def test_jax_a_length_out_of_range_under_jit_is_nan():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    from bpx_jax.losses.ctc import ctc_loss

    x = jnp.asarray(np.random.default_rng(2).standard_normal((4, 4, 3)))
    targets = jnp.asarray([[1, 2], [1, 2], [7, 2], [1, 7]])
    t_n, u_n = jnp.asarray([5, 4, 4, 4]), jnp.asarray([2, 3, 2, 1])

    each = jax.jit(lambda *a: ctc_loss(*a, reduction="none"))
    y, pull = jax.vjp(lambda x: each(x, targets, t_n, u_n), x)
    assert np.array_equal(np.isnan(y), [True, True, True, False])
    (g,) = pull(jnp.ones(4))
    assert np.isnan(g[0, :3]).all()
    assert np.isfinite(g[:, 3]).all()


def test_torch_a_length_out_of_range_under_vmap_is_nan():
    torch = pytest.importorskip("torch")
    from bpx_torch.losses.ctc import ctc_loss

    x, t_n, u_n = torch.randn(4, 2, 3), torch.tensor([5, 4]), torch.tensor([2, 2])
    f = torch.func.vmap(lambda *a: ctc_loss(*a, reduction="none"), (1, 0, 0, 0))
    y = f(x, torch.tensor([[1, 2], [1, 2]]), t_n, u_n)
    assert torch.equal(y.isnan(), torch.tensor([True, False]))


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
def test_torch_long_sequences_in_float32():
    """400 frames: what is summed in logarithms neither overflows nor drifts."""
    import torch

    from bpx_torch import functional

    x = torch.randn(400, 2, 20)
    rest = torch.randint(1, 20, (2, 60)), torch.tensor([400, 333]), torch.tensor([60, 41])
    values = []
    for dtype in (torch.float32, torch.float64):
        a = x.to(dtype).requires_grad_()
        y = functional.ctc_loss(a.log_softmax(-1), *rest, reduction="sum")
        values.append((y, torch.autograd.grad(y, a)[0]))
    torch.testing.assert_close(values[0][0].double(), values[1][0], rtol=1e-5, atol=0)
    torch.testing.assert_close(values[0][1].double(), values[1][1], rtol=0, atol=3e-4)
