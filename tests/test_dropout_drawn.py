"""dropout that draws its mask in the pass that applies it, in Triton."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from bpx.rule import use
from bpx_torch import functional, random
from bpx_torch.layers import dropout

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def both(drop, x, key, p, **options):
    x = x.detach().requires_grad_()
    y = drop(x, key, p=p, **options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return y, *torch.autograd.grad(y, x, dy)


def in_two(x, key, *, p):
    bits = dropout.keep_bits(key, x.shape, p=p)
    return dropout.dropout(x, bits, p=p)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (3, 343), (2, 3, 5)])
def test_one_pass_gives_what_two_give(shape, dtype):
    key = random.key(11)
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    for p in (0.3, 0.5, 0.9, 2.0**-31):
        with use("plain"):
            want = both(in_two, x, key, p)
        with use("triton", interpret=True):
            got = both(dropout.drawn, x, key, p)
        assert "Drawn" in got[0].grad_fn.name()
        for a, b in zip(got, want, strict=True):
            assert a.dtype == dtype
            assert torch.equal(a, b)


def test_layouts_and_values_that_a_dropped_place_hides():
    key = random.key(5)
    x = torch.randn(6, 10).t()
    x[0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    with use("plain"):
        want = both(in_two, x, key, 0.5)
    with use("triton", interpret=True):
        got = both(dropout.drawn, x, key, 0.5)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert want[0][0, :3].isnan().sum() < 3 or (want[0][0, :3] == 0).any()


def test_a_second_derivative_goes_through_the_mask():
    x = torch.randn(9, dtype=torch.float64, requires_grad=True)
    with use("triton", interpret=True):
        assert torch.autograd.gradgradcheck(
            lambda x: dropout.drawn(x, random.key(3), p=0.4) ** 2, x
        )


def test_where_the_mask_is_drawn_apart():
    key, x = random.key(2), torch.randn(4, 6, requires_grad=True)
    with use("triton", interpret=True):
        for y in (
            dropout.drawn(x, key, p=1.0),
            dropout.drawn(x, key, p=0.5, broadcast_dims=(1,)),
        ):
            assert "Drawn" not in y.grad_fn.name()
        assert not dropout.drawn(x, key, p=1.0).any()
        assert not dropout.keep_bits(key, (9,), p=1.0).any()
    assert "Drawn" not in dropout.drawn(x, key, p=0.5).grad_fn.name()
    with use("plain"):
        mapped = torch.func.vmap(lambda x: dropout.drawn(x, key, p=0.5))(x)
    assert mapped.shape == x.shape


def test_the_face_takes_one_pass():
    x = torch.randn(33, requires_grad=True)
    torch.manual_seed(4)
    with use("triton", interpret=True):
        y = functional.dropout(x, 0.25)
    assert "Drawn" in y.grad_fn.name()
    torch.manual_seed(4)
    with use("plain"):
        assert torch.equal(y, functional.dropout(x, 0.25))
