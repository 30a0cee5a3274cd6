"""bilinear and cosine_similarity under the names of torch and optax."""

import importlib

import pytest

torch = pytest.importorskip("torch")
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")


def results(f, arrays):
    y = f(*arrays)
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(5))
    asked = [a for a in arrays if a.requires_grad]
    if isinstance(f, torch.nn.Module):
        asked += list(f.parameters())
    return (y, *torch.autograd.grad(y, asked, dy))


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear(bias):
    ours, theirs = (m.Bilinear(3, 4, 5, bias=bias, dtype=torch.float64) for m in (nn, torch.nn))
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    arrays = randn(2, 6, 3), randn(2, 6, 4)
    found, want = (results(m, arrays) for m in (ours, theirs))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(dim):
    for arrays in ((randn(2, 3, 5), randn(2, 3, 5)), (randn(2, 3, 5), randn(3, 1))):
        for ours, theirs in (
            (nn.CosineSimilarity(dim, 1e-3), torch.nn.CosineSimilarity(dim, 1e-3)),
            (
                lambda a, b: functional.cosine_similarity(a, b, dim),
                lambda a, b: torch.nn.functional.cosine_similarity(a, b, dim),
            ),
        ):
            found, want = results(ours, arrays), results(theirs, arrays)
            torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    default = functional.cosine_similarity(*arrays)
    torch.testing.assert_close(default, torch.nn.functional.cosine_similarity(*arrays))
