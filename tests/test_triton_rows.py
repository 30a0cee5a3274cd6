"""Triton kernels on rows longer than a block, in the interpreter, where blocks are made small: sums
by columns, walks over a row, several rows in a tile; and what the kernels refuse."""

import types

import pytest

torch = pytest.importorskip("torch")
_rows = pytest.importorskip("bpx_torch.kernels.triton._rows")

from bpx.rule import use
from bpx_torch import RULES
from bpx_torch.kernels.triton import (
    _launch,
    _logits,
    attention,
    cross_entropy,
    dropout,
    gated_linear,
    rope,
    softmax,
)

TOLERANCE = {torch.float64: 2.0**-46, torch.float32: 2.0**-18, torch.bfloat16: 2.0**-6}
OPTIONS = {"softmax": {"dim": 1}, "log_softmax": {"dim": 1}}


@pytest.fixture(params=[8, 64])
def blocks(request, monkeypatch):
    """Blocks and strips shorter than the rows below, or a little longer."""
    for module in (softmax, cross_entropy, _logits):
        monkeypatch.setattr(module, "BLOCK", request.param)
    monkeypatch.setattr(_rows, "WIDE", request.param)
    monkeypatch.setattr(_rows, "STRIP", 8)
    monkeypatch.setattr(_rows, "DEEP", 2)


def draw(entry, dtype):
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    columns = 21
    x = normal(5, columns)
    if entry == "cross_entropy":
        return x, torch.randint(0, columns, (5,), generator=generator), None
    if entry == "linear_cross_entropy":
        target = torch.randint(0, columns, (5,), generator=generator)
        return normal(5, 3), normal(columns, 3), target, normal(columns), None
    return (x, *(normal(columns) for _ in range({"layer_norm": 2, "rms_norm": 1}.get(entry, 0))))


def both(entry, kernel, given, needs=None):
    given = [
        a if a is None or not a.is_floating_point() else a.clone().requires_grad_() for a in given
    ]
    asked = [a for a in given if a is not None and a.requires_grad]
    asked = [a for i, a in enumerate(asked) if needs is None or i in needs]
    with use(kernel, interpret=kernel == "triton"):
        y = RULES[entry](*given, **OPTIONS.get(entry, {}))
        dy = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape).to(y.dtype)
        return y, *torch.autograd.grad(y, asked, dy)


ENTRIES = (
    "layer_norm",
    "rms_norm",
    "softmax",
    "log_softmax",
    "cross_entropy",
    "linear_cross_entropy",
)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("entry", ENTRIES)
def test_rows_longer_than_a_block(entry, dtype, blocks):
    given = draw(entry, dtype)
    for a, b in zip(both(entry, "triton", given), both(entry, "plain", given), strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= TOLERANCE[dtype] * b.abs().max()


@pytest.mark.parametrize("needs", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_sums_by_columns_alone(needs, blocks):
    given = draw("layer_norm", torch.float64)
    found = both("layer_norm", "triton", given, needs)
    for a, b in zip(found, both("layer_norm", "plain", given, needs), strict=True):
        assert (a - b).abs().max() <= TOLERANCE[torch.float64] * b.abs().max()


def test_masked_classes_at_the_start_of_a_long_row(blocks):
    x = draw("softmax", torch.float64)[0]
    x[:, :17] = -torch.inf
    target = torch.full((5,), 19)
    for a, b in zip(
        both("cross_entropy", "triton", (x, target, None)),
        both("cross_entropy", "plain", (x, target, None)),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-15)
    with use("triton", interpret=True):
        assert torch.allclose(RULES["softmax"](x), torch.softmax(x, -1), rtol=1e-13)


@pytest.mark.parametrize("entry", ["layer_norm", "cross_entropy"])
def test_large_numbers_keep_their_digits(entry, blocks):
    """mu and lse are stored rounded, by 1e4 times the roundoff of float32."""
    x, *rest = draw(entry, torch.float32)
    given = (x + 1e4, *rest)
    wide = [a.double() if a is not None and a.is_floating_point() else a for a in given]
    for a, b in zip(both(entry, "triton", given), both(entry, "plain", wide), strict=True):
        limit = 2.0**-23 * (1e4 if a.ndim == 0 else 64) * b.abs().max()  # a loss is lse less x
        assert (a - b).abs().max() <= limit


def test_what_a_kernel_is_compiled_anew_for():
    x = torch.zeros(40)

    def key(a=x, n=48, **constants):
        return _launch.compiled_for(softmax.forward_kernel, x, (a, n), constants)

    assert key(A=0.5) == key(A=0.5)
    assert key(x[16:], 64) == key()  # another array and size, as the last
    anew = [key(), key(x[1:]), key(x.double()), key(n=1), key(n=49), key(n=2**31)]
    anew += [key(A=a) for a in (0.0, -0.0, 1.0, float("nan"))]
    assert len(set(anew)) == len(anew)
    assert key(A=float("nan")) in anew


def test_what_is_refused():
    x, table = torch.randn(2, 3, 4), torch.randn(3, 2)
    bits, key = torch.zeros(3, dtype=torch.uint8), torch.zeros(3, dtype=torch.uint32)
    logits, label = torch.randn(2, 3), torch.zeros(2, dtype=torch.int64)
    gated = RULES["swiglu"].kernel("triton")
    with use("triton", interpret=True):
        wide = "cos or sin is float64 beside float32 x"
        assert rope.refuses((x, table.double(), table), {}) == wide
        assert rope.refuses((x[:0], table, table), {}) == "an argument has no elements"
        assert dropout.refuses((x.long(), bits), {}) == "x is torch.int64"
        assert dropout.refuses((x[:0], bits), {}) == "x has no elements"
        assert "not uint32 (2,)" in dropout.refuses_key(key, 5)
        assert "nothing to draw" in dropout.refuses_key(key[:2], 0)
        assert cross_entropy.refuses((logits[:0], label[:0], None), {}).endswith("no elements")
        wide = "weight is float64 beside float32 logits"
        assert cross_entropy.refuses((logits, label, torch.ones(3).double()), {}) == wide
        assert gated.refuses((x, x.double()), {}) == "gate is float64 beside float32 x"
        assert gated.refuses((x[:0], x[:0]), {}) == "an argument has no elements"
    for module, given in ((rope, (x, table, table)), (dropout, (x, bits))):
        assert module.refuses(given, {}) == "x is on cpu"
    assert dropout.refuses_key(key[:2], 1) == "x is on cpu"


def test_float64_on_a_gpu_where_the_plain_rule_takes_it():
    double = types.SimpleNamespace(is_cuda=True, dtype=torch.float64)
    said = "is float64 on a GPU, which is the plain rule's"
    assert attention.refuses((double, *[None] * 5), {}) == f"query {said}"
    assert gated_linear.refuses((double, *[None] * 3), {}) == f"x {said}"
    assert _rows.refuses_double("x", torch.ones(2).double()) is None
    assert _rows.refuses_double("x", types.SimpleNamespace(is_cuda=True, dtype=torch.half)) is None
