"""torch's embedding under torch's names; what an index out of range gives where nobody looks."""

import importlib
import inspect

import numpy as np
import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")


def both(make, *inputs):
    """Outputs and weight gradients of the same thing in the two libraries."""
    found = []
    for library in (nn, torch.nn):
        torch.manual_seed(3)
        layer = make(library)
        y = layer(*inputs)
        dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
        found.append((y.detach(), torch.autograd.grad(y, layer.weight, dy)[0], layer))
    return found


def test_signatures():
    pairs = [(getattr(functional, n), getattr(F, n)) for n in ("embedding", "embedding_bag")]
    pairs += [(getattr(nn, n), getattr(torch.nn, n)) for n in ("Embedding", "EmbeddingBag")]
    for ours, theirs in pairs:
        found = [
            [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (ours, theirs)
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 0.9, "norm_type": 1.5}]
)
def test_module(options):
    input = torch.tensor([[4, 2, 0], [2, 4, 2]])
    ours, theirs = both(lambda m: m.Embedding(5, 3, dtype=torch.float64, **options), input)
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=1e-14, atol=1e-14)
    assert repr(ours[2]) == repr(theirs[2])
    torch.testing.assert_close(ours[2].state_dict(), theirs[2].state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["sparse", "scale_grad_by_freq"])
def test_refused(name):
    layer = nn.Embedding(5, 3, **{name: True})
    with pytest.raises(SpecError, match=f"embedding: {name} is True, expected False"):
        layer(torch.tensor([1]))


def test_padding_idx_out_of_range():
    with pytest.raises(SpecError, match=r"embedding: padding_idx is -6, expected None or"):
        functional.embedding(torch.tensor([1]), torch.randn(5, 3), padding_idx=-6)
    with pytest.raises(SpecError, match=r"embedding_bag: padding_idx is 5, expected"):
        functional.embedding_bag(torch.tensor([[1]]), torch.randn(5, 3), padding_idx=5)


def test_a_tied_weight_gets_both_gradients():
    """The table read by the embedding and by the linear layer that gives the logits."""
    indices, weight = torch.tensor([1, 4, 1, 0]), torch.randn(5, 3, dtype=torch.float64)
    grads = []
    for library in (functional, F):
        w = weight.clone().requires_grad_()
        logits = library.linear(library.embedding(indices, w).tanh(), w)
        dy = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        grads.append(torch.autograd.grad(logits, w, dy)[0])
    torch.testing.assert_close(*grads, rtol=1e-13, atol=1e-13)


def test_half_precision_accumulates_in_float32():
    """1000 gradients of 0.1 are 100, where bfloat16 sums stay at 32."""
    dy = torch.full((1000, 3), 0.1, dtype=torch.bfloat16)
    want = torch.full((3,), float(1000 * dy[0, 0].double())).bfloat16()
    weight = torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True)
    functional.embedding(torch.ones(1000, dtype=torch.int64), weight).backward(dy)
    assert torch.equal(weight.grad[1], want)

    jax = pytest.importorskip("jax")
    embedding = importlib.import_module("bpx_jax.nn").embedding
    rows = jax.numpy.ones(1000, int)
    pull = jax.vjp(lambda w: embedding(rows, w), jax.numpy.zeros((2, 3), jax.numpy.bfloat16))[1]
    (dweight,) = pull(jax.numpy.full((1000, 3), 0.1, jax.numpy.bfloat16))
    assert dweight[1].tolist() == want.tolist()


def test_out_of_range_where_nobody_looks():
    """NaN in the row, nothing in the gradient: traced code cannot look at the indices."""
    indices, weight = np.array([0, 5, -1, 2**32]), np.random.default_rng(3).standard_normal((5, 3))
    w = torch.from_numpy(weight).requires_grad_()
    torch._dynamo.reset()
    f = torch.compile(functional.embedding, fullgraph=True, backend="aot_eager")
    y = f(torch.from_numpy(indices), w)
    grad = torch.autograd.grad(y, w, torch.ones_like(y))[0].numpy()
    for got, dweight in ((y.detach().numpy(), grad), _in_jax(indices, weight)):
        np.testing.assert_array_equal(got[0], weight[0])
        assert np.isnan(got[1:]).all()
        np.testing.assert_array_equal(dweight, np.eye(5, 1) * np.ones(3))


def _in_jax(indices, weight):
    jax = pytest.importorskip("jax")
    embedding = importlib.import_module("bpx_jax.nn").embedding

    def run(i, w):
        y, pull = jax.vjp(lambda w: embedding(i, w), w)
        return y, pull(jax.numpy.ones_like(y))[0]

    return map(np.asarray, jax.jit(run)(indices, weight))


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int64", "uint64"])
def test_every_dtype_of_indices_in_jax(dtype):
    weight = np.random.default_rng(4).standard_normal((5, 3))
    y, dweight = _in_jax(np.array([0, 4, 200, 4], dtype), weight)
    np.testing.assert_array_equal(y[[0, 1, 3]], weight[[0, 4, 4]])
    assert np.isnan(y[2]).all()
    np.testing.assert_array_equal(dweight[:, 0], [1, 0, 0, 0, 2])


def test_vmap_over_indices_alone():
    weight = torch.randn(5, 3, dtype=torch.float64)
    indices = torch.tensor([[0, 4], [4, 4], [2, 1]])
    grad = torch.func.grad(lambda w, i: functional.embedding(i, w).sin().sum())
    got = torch.func.vmap(grad, in_dims=(None, 0))(weight, indices)
    torch.testing.assert_close(got, torch.stack([grad(weight, i) for i in indices]))
