"""Gated units of the halves of one array: the native kernel reads them as they lie."""

import pytest

torch = pytest.importorskip("torch")

from bpx import native
from bpx_torch import RULES
from bpx_torch.kernels.cpu.gated import _rows

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

UNITS = {
    "glu": {},
    "swiglu": {},
    "geglu": {"approximate": "tanh"},
    "reglu": {},
}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(name, x, gate, dy, needs=(True, True)):
    rule, options = RULES[name], UNITS[name]
    y, _ = rule.forward(x, gate, kernel="cpu", **options)
    return y, *rule.backward(dy, (x, gate), (), needs, kernel="cpu", **options)


HALVES = {  # 8,192 elements and more are several chunks, which end within a row
    "features": lambda: draw(301, 2 * 37).chunk(2, -1),
    "channels": lambda: draw(5, 2 * 31, 7, 11).chunk(2, 1),
    "batches": lambda: draw(6, 4, 50).chunk(2, 0),
    "every second": lambda: (draw(40, 9)[::2], draw(40, 9, seed=1)[::2]),
    "turned": lambda: draw(30, 8, 10).transpose(0, 1).chunk(2, -1),
    "one of each apart": lambda: (draw(30, 10)[:, :5], draw(30, 8, seed=1)[:, :5]),
    "one element": lambda: draw(1, 2).chunk(2, -1),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("where", HALVES)
@pytest.mark.parametrize("name", UNITS)
def test_the_values_of_copies_without_gaps(name, where, dtype):
    """But for the roundings of an element, which a vector and what it leaves over make apart."""
    whole = [a.contiguous().to(dtype) for a in HALVES[where]()]
    x, gate = (
        a.new_empty_strided(b.shape, b.stride()).copy_(a)
        for a, b in zip(whole, HALVES[where](), strict=True)
    )
    dy = draw(*x.shape, seed=2).to(dtype)
    for needs in ((True, True), (True, False), (False, True)):
        for got, want in zip(
            run(name, x, gate, dy, needs), run(name, *whole, dy, needs), strict=True
        ):
            assert (got is None) == (want is None)
            if got is not None:
                eps = torch.finfo(dtype).eps
                torch.testing.assert_close(got, want, rtol=8 * eps, atol=eps)


def test_what_lies_in_rows():
    x = draw(4, 6, 8)
    for a, rows in (
        (x, (192, 192)),
        (x[:, :, :3], (3, 8)),
        (x[:, 1:3], (16, 48)),
        (x[:2], (96, 96)),
        (x[::2], (48, 96)),
        (x[1:2, 2:3, 3:4], (1, 1)),
        (x[:, :1, :3], (3, 48)),
        (x[:, :, :1], (1, 8)),
        (x[:, :3, :3], None),
        (x.transpose(0, 1), None),
        (x[:1, :1, :1].expand(4, 1, 1), None),
        (x[:, :, :1].expand(4, 6, 8), None),
    ):
        assert _rows(a) == rows, a.stride()


def test_a_pending_sign_is_no_part_of_the_memory():
    z = torch.complex(draw(6, 4), draw(6, 4, seed=1)).conj()
    x, gate = z.imag.chunk(2, 0)
    assert x.is_neg()
    assert _rows(x) == (1, 2)
    dy = draw(3, 4, seed=2)
    own = run("swiglu", x.resolve_neg().contiguous(), gate.resolve_neg().contiguous(), dy)
    for got, want in zip(run("swiglu", x, gate, dy), own, strict=True):
        assert torch.equal(got, want)
