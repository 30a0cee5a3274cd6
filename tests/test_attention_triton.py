"""attention's Triton kernels in the interpreter, over several small blocks each way: the bounds of
causal and window, padding, every option, layouts, and what they refuse."""

import pytest

torch = pytest.importorskip("torch")
kernel = pytest.importorskip("bpx_torch.kernels.triton.attention")

from bpx.rule import use
from bpx.spec import SpecError
from bpx_torch.kernels.triton import _attention, _attention_blocks, _launch
from bpx_torch.layers.attention import RULE, attention

UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
KEY = (3, 11)
# (B, H, K, T, S, D, E), options, shape of the bias, shape of the mask
CASES = {
    "causal": ((1, 4, 2, 34, 37, 5, 16), {"causal": True}, None, None),
    "causal, more keys": ((2, 1, 1, 17, 50, 16, 3), {"causal": True, "scale": -0.4}, None, None),
    "window": ((1, 2, 2, 50, 41, 3, 2), {"window": (19, 5)}, None, None),
    "window and causal": ((1, 2, 1, 33, 60, 3, 2), {"window": (3, 40), "causal": True}, None, None),
    "narrow": ((1, 1, 1, 70, 20, 3, 2), {"window": (0, 0), "softcap": 0.7}, None, None),
    "whole blocks": ((1, 3, 3, 32, 48, 16, 16), {}, None, None),
    "mask": ((2, 2, 2, 20, 35, 2, 3), {"softcap": 1.5}, None, (2, 1, 20, 35)),
    "mask of keys": ((2, 2, 1, 20, 35, 2, 3), {"causal": True}, None, (2, 1, 1, 35)),
    "bias": ((2, 2, 1, 20, 35, 2, 3), {"window": (None, 9)}, (1, 2, 20, 35), None),
    "bias of keys": ((1, 2, 1, 18, 20, 2, 3), {"dropout_p": 0.4}, (1, 1, 1, 20), None),
    "bias of queries": ((2, 1, 1, 20, 20, 2, 3), {"softcap": 2.0}, (1, 1, 20, 1), (1, 1, 20, 20)),
    "one number": ((2, 2, 1, 20, 18, 2, 3), {"causal": True}, (1, 1, 1, 1), (1, 1, 20, 18)),
}


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """Every pass in blocks of 16 queries and 32 keys, or the other way round."""
    sizes = {"forward": (16, 32), "dquery": (16, 16), "dkey": (32, 16), "dbias": (16, 16)}
    small = {name: {256: (*size, 4, 1)} for name, size in sizes.items()}
    monkeypatch.setattr(_attention_blocks, "NARROW", small)
    monkeypatch.setattr(_attention_blocks, "WIDE", small)


def draw(case, dtype):
    (b, h, k, t, s, d, e), options, bias, mask = CASES[case]
    generator = torch.Generator().manual_seed(7)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    given = [normal(b, h, t, d), normal(b, k, s, d), normal(b, k, s, e)]
    given.append(None if bias is None else normal(*bias))
    seen = None
    if mask is not None:
        seen = torch.rand(mask, generator=generator) > 0.4
        seen[:, :, :1] = mask[2] == 1  # a query that sees nothing
    key = torch.tensor(KEY, dtype=torch.uint32) if "dropout_p" in options else None
    return given, seen, key, options, normal(b, h, t, e)


def run(name, given, seen, key, options, dy):
    """y, top, mass and the gradients."""
    given = [a if a is None else a.detach().requires_grad_() for a in given]
    asked = [a for a in given if a is not None]
    with use(name, interpret=name == "triton"):
        y = attention(*given, seen, key, **options)
        grads = torch.autograd.grad(y, asked, dy)
        with torch.no_grad():
            _, (_, *rest) = RULE.forward(*given, seen, key, kernel=name, **options)
    return [y.detach(), *rest, *grads]


@pytest.mark.parametrize("case", CASES)
def test_blocks(case):
    given, *others = draw(case, torch.float64)
    found, want = (run(name, given, *others) for name in ("triton", "plain"))
    for a, b in zip(found, want, strict=True):
        # dbias of a number that a whole row shares is a sum that cancels to nothing
        scale = max(b.abs().max(), 1.0)
        assert (a - b).abs().max() <= 128 * 2.0**-53 * scale


@pytest.mark.parametrize("case", ["causal", "bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types(case, dtype):
    given, *others, dy = draw(case, dtype)
    found = run("triton", given, *others, dy)
    wide = [None if a is None else a.double() for a in given]
    want = run("plain", wide, *others, dy.double())
    kinds = [dtype, torch.float32, torch.float32, *[dtype] * (len(want) - 3)]
    for a, b, kind in zip(found, want, kinds, strict=True):
        assert a.dtype == kind
        assert (a.double() - b).abs().max() <= (4 if dtype is torch.bfloat16 else 32) * UNIT[
            kind
        ] * max(b.abs().max(), 1.0)


def test_heads_inside_are_read_and_written_in_place(monkeypatch):
    """What models have: (B, T, H, D) seen as (B, H, T, D)."""
    (q, k, v, _), *others, dy = draw("causal", torch.float64)
    want = run("triton", (q, k, v, None), *others, dy)
    turned = [a.transpose(1, 2).contiguous().transpose(1, 2) for a in (q, k, v, dy)]
    read = []
    inner = _launch.run

    def launch(kernel, grid, x, *arguments, **constants):
        read.extend(a.data_ptr() for a in arguments if isinstance(a, torch.Tensor))
        inner(kernel, grid, x, *arguments, **constants)

    monkeypatch.setattr(_launch, "run", launch)
    found = run("triton", (*turned[:3], None), *others, turned[3])
    for a, b in zip(found, want, strict=True):
        assert torch.equal(a, b)
    assert {a.data_ptr() for a in turned} <= set(read)
    for a, like in zip((found[0], *found[3:]), (dy, q, k, v), strict=True):
        assert a.transpose(1, 2).is_contiguous() or 1 in like.shape


def test_layouts_that_are_copied():
    (q, k, v, _), *others, dy = draw("mask of keys", torch.float64)
    want = run("triton", (q, k, v, None), *others, dy)
    column = q.mT.contiguous().mT, k.repeat_interleave(2, 3)[..., ::2], torch._neg_view(-v)
    for a, b in zip(run("triton", (*column, None), *others, dy), want, strict=True):
        assert torch.equal(a, b)
    one = dy[..., :1].expand(dy.shape)
    found, same = (run("triton", (q, k, v, None), *others, g) for g in (one, one.clone()))
    for a, b in zip(found, same, strict=True):
        assert torch.equal(a, b)


def test_gradients_that_nobody_asks_for_are_not_computed(monkeypatch):
    given, seen, key, options, dy = draw("one number", torch.float64)
    want = run("triton", given, seen, key, options, dy)[3:]
    names = []
    inner = _launch.run

    def launch(kernel, *arguments, **constants):
        names.append(kernel.fn.__name__)
        inner(kernel, *arguments, **constants)

    monkeypatch.setattr(_launch, "run", launch)
    passes = ("dquery_kernel",), ("dkey_kernel",), ("dkey_kernel",), ("dbias_kernel",)
    for i, kernels in enumerate(passes):
        leaves = [a.clone() for a in given]
        leaves[i].requires_grad_()
        with use("triton", interpret=True):
            y = attention(*leaves, seen, key, **options)
        names.clear()
        assert torch.equal(torch.autograd.grad(y, leaves[i], dy)[0], want[i])
        assert names == ["delta_kernel", *kernels]


def test_a_far_query_is_not_counted_in_31_bits():
    """Rows further apart than a block's offsets can say are copied first."""
    base = torch.zeros(2 * _attention.STEP + 2)
    far = base.as_strided((1, 1, 2, 2), (0, 0, 2 * _attention.STEP, 1))
    assert _attention.rows(far).stride(2) == 2
    near = base.as_strided((1, 1, 2, 2), (0, 0, _attention.STEP, 1))
    assert _attention.rows(near) is near


def test_a_factor_of_dropout_that_16_bits_do_not_hold():
    """1 / (1 - p) is 2^17, and this key keeps the place (1, 1) alone."""
    key = torch.tensor([3, 1362], dtype=torch.uint32)
    query, value = torch.zeros(1, 1, 16, 1).half(), torch.full((1, 1, 16, 1), 2.0**-12).half()
    value.requires_grad_()
    with use("triton", interpret=True):
        y = attention(query, query, value, None, None, key, dropout_p=1 - 2.0**-17)
    (dvalue,) = torch.autograd.grad(y, value, torch.full_like(y, 2.0**-10))
    for a, want in ((y, 2.0), (dvalue, 8.0)):
        assert a.flatten().tolist() == [0.0, want, *[0.0] * 14]


def test_blocks_fit_in_what_a_device_shares(monkeypatch):
    monkeypatch.undo()  # the blocks of a GPU
    q, bias = torch.randn(1, 1, 512, 128).bfloat16(), torch.zeros(1, 1, 512, 512)
    mask, options = torch.ones(1, 1, 512, 512, dtype=torch.bool), RULE.spec.complete({})

    def sizes(room, *rest):
        monkeypatch.setattr(_attention_blocks, "shared", lambda device: room)
        found = _attention_blocks.of("dkey", _attention.Call(q, q, q, *rest, None, options))
        return tuple(found.values())

    # 128 keys of 256 features stay, 64 queries pass by in stages, in 2 bytes
    full = (64, 128, 8, 3)
    assert sizes(2 * 256 * (128 + 3 * 64), None, None) == full
    assert sizes(2 * 256 * (128 + 3 * 64) - 1, None, None) == (64, 128, 8, 2)
    wide = 2 * 256 * (128 + 3 * 64) + 3 * 64 * 128 * (4 + 1)
    assert sizes(wide, bias, mask) == full
    assert sizes(wide - 1, bias, mask) == (64, 128, 8, 2)
    assert sizes(2 * 256 * (128 + 64) - 1, None, None) == (32, 64, 8, 1)
    assert sizes(1, None, None) == (16, 16, 8, 1)


def reason(q, k, v, bias=None, mask=None, key=None):
    return kernel.refuses((q, k, v, bias, mask, key), {})


def test_what_is_refused():
    q = torch.randn(1, 2, 3, 4)
    assert reason(q, q, q) == "x is on cpu"
    with use("triton", interpret=True):
        assert reason(q, q, q) is None
        wide = torch.randn(1, 2, 3, 257)
        assert reason(q, q, wide) == "a head has 257 features, at most 256 fit in one block"
        assert reason(q, q[:, :, :0], q[:, :, :0]) == "query, key or value has no elements"
        assert reason(q, q.bfloat16(), q).startswith("key is torch.bfloat16, value torch.float32")
        double = "key or value or bias is float64 beside float32 query"
        assert reason(q, q, q, q[:1, :1, :1, :3].double()) == double
        long = q[:, :, :1].expand(1, 2, 2**30, 4)
        assert reason(q, long, long).startswith(f"there are {2**30} queries or keys")
        with pytest.raises(SpecError, match=r"triton: inside a torch.func transform"):
            torch.func.grad(lambda q: attention(q, q, q).sum())(q)
