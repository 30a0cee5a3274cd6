"""The native kernels of softmax and the losses inside torch, at sizes beyond the kit's cases."""

import pytest

torch = pytest.importorskip("torch")

from bpx import _inputs, native, rule
from bpx.spec import SpecError
from bpx_torch import RULES
from bpx_torch.kernels.cpu import cross_entropy, losses

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

ROWS = {"N": 301, "V": 257}  # ten chunks of a ragged number of rows
FLAT = {"N": 77_003}
SIZES = {
    **dict.fromkeys(
        ("cross_entropy", "soft_cross_entropy", "jsd", "nll_loss", "multi_margin"), ROWS
    ),
    **dict.fromkeys(losses.KERNELS, FLAT),
    "cosine_similarity": {"N": 301, "D": 257},
    "cosine_embedding": {"N": 301, "D": 257},
    "triplet_margin": {"N": 301, "D": 257},
}
SOFTMAX = ("softmax", "log_softmax")
WEIGHTS = {
    "cross_entropy": {"weight": 257},
    "soft_cross_entropy": {"weight": 257},
    "nll_loss": {"weight": 257},
    "multi_margin": {"weight": 257},
    "binary_cross_entropy": {"weight": 77_003},
    "binary_cross_entropy_with_logits": {"weight": 77_003, "pos_weight": 77_003},
}
OPTIONS = {
    "cross_entropy": {"label_smoothing": 0.1},
    "soft_cross_entropy": {"label_smoothing": 0.1},
    "triplet_margin": {"swap": True},
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def drawn(name, dtype):
    spec = RULES[name].spec
    given, _ = _inputs.draw(spec, SIZES[name])
    for arg, size in WEIGHTS.get(name, {}).items():
        given[arg] = torch.linspace(0.5, 2.0, size, dtype=torch.float64).numpy()
    tensors = (None if a is None else torch.from_numpy(a) for a in given.values())
    return tuple(a.to(dtype) if a is not None and a.is_floating_point() else a for a in tensors)


def both(chosen, kernel, arrays, options):
    """(y, residuals, gradients) of one kernel, for a dy that differs from row to row."""
    spec, k = chosen.spec, chosen.kernel(kernel)
    options, _ = chosen.bind(tuple(None if a is None else a.shape for a in arrays), options)
    y, residuals = k.forward(*arrays, **options)
    dy = (1.5 + torch.arange(y.numel(), dtype=torch.float64).sin()).to(y.dtype).reshape(y.shape)
    pairs = list(zip(spec.args, arrays, strict=True))
    needs = tuple(a.kind == "float" and v is not None for a, v in pairs)
    seen = (*spec.saves, *spec.shapes)
    kept = tuple(v if a.name in seen else None for a, v in pairs)
    return (y, *residuals, *k.backward(dy, kept, residuals, needs, **options))


def near(got, want, dtype=torch.float64):
    """Within 64 roundings of the largest element."""
    for a, b in zip(got, want, strict=True):
        if b is None:
            continue
        assert a.shape == b.shape
        bound = 64 * torch.finfo(dtype).eps * max(b.double().abs().max().item(), 1e-3)
        assert (a.double() - b.double()).abs().max().item() <= bound


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", sorted(SIZES))
def test_many_chunks_give_the_plain_result_with_any_number_of_threads(threads, name, reduction):
    options = {"reduction": reduction, **OPTIONS.get(name, {})}
    if "reduction" not in RULES[name].spec.options:
        del options["reduction"]
    arrays, found = drawn(name, torch.float64), []
    if name in ("cross_entropy", "nll_loss"):
        arrays[1][[3, 250]] = -100
    for n in (1, 2, 3):
        threads(n)
        found.append(both(RULES[name], "cpu", arrays, options))
    near(found[0], both(RULES[name], "plain", arrays, options))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_over_any_axis(threads, name, dim):
    x = torch.linspace(-3, 4, 131 * 70 * 67, dtype=torch.float64).reshape(131, 70, 67)
    x = (100 * x).sin() * x
    found = []
    for n in (1, 2, 3):
        threads(n)
        found.append(both(RULES[name], "cpu", (x,), {"dim": dim}))
    near(found[0], both(RULES[name], "plain", (x,), {"dim": dim}))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("name", [*SOFTMAX, "cross_entropy", "mse"])
def test_long_sums_in_float32(name):
    """A sum of 300,000 terms is within a few roundings, not within a number that grows with it."""
    n = 300_000
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    others = {"cross_entropy": (torch.tensor([17]), None), "mse": (x.flip(0) / 3,)}.get(name, ())
    arrays = (x.reshape(1, n), *others) if name == "cross_entropy" else (x, *others)
    want = both(RULES[name], "plain", arrays, {})
    single = tuple(a.float() if a is not None and a.is_floating_point() else a for a in arrays)
    near(both(RULES[name], "cpu", single, {}), want, torch.float32)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_labels_of_every_type_are_read_and_held_against_the_classes(dtype):
    x = torch.linspace(-2, 2, 20_000 * 3).reshape(20_000, 3).requires_grad_()
    target = (torch.arange(20_000) % 3).to(dtype)

    def call(x, target, **options):
        return RULES["cross_entropy"](x, target, None, **options)

    wide = call(x, target.long())
    assert torch.equal(call(x, target), wide)
    assert torch.equal(call(x, target.repeat_interleave(2)[::2]), wide)
    for outside in (3, 255):
        if outside <= torch.iinfo(dtype).max:
            target[19_001] = outside
            with pytest.raises(SpecError, match=f"target holds {outside}, expected 0 <= target"):
                call(x, target)
            assert call(x, target, ignore_index=outside).isfinite()
            assert call(x, torch.where(target == outside, -100, target.long())).isfinite()
    if dtype != torch.uint8:
        target[19_001] = -1
        with pytest.raises(SpecError, match="target holds -1, expected"):
            call(x, target)
    with pytest.raises(SpecError, match="target holds"):
        call(x, target, ignore_index=None)
    target[19_001] = 1
    assert call(x, target, ignore_index=2**70).isfinite()


def test_a_label_that_is_no_class_is_never_another():
    """Nothing checks here: the kernel alone gives NaN, and reads nothing beside the row."""
    x = torch.linspace(-2, 2, 15).reshape(3, 5)
    options = {"ignore_index": -100, "reduction": "none", "label_smoothing": 0.0}
    target = torch.tensor([1, 5, 2**40])
    y, (lse,) = cross_entropy.forward(x, target, None, **options)
    assert y.isnan().tolist() == [False, True, True]
    dx = cross_entropy.backward(y, (x, target, None), (lse,), (True, False, False), **options)[0]
    assert dx.isnan().all(-1).tolist() == [False, True, True]
    assert not dx[0].isnan().any()


def test_what_the_kernels_refuse():
    x = torch.linspace(0.1, 0.9, 6).bfloat16()
    refuses = losses.KERNELS["mse"].refuses
    assert refuses((x, x.float()), {}) == "an argument is float32 beside bfloat16"
    assert refuses((x, x.half()), {}) == "an argument is float16 beside bfloat16"
    assert refuses((x.float(), x), {}) is None
    weight = losses.KERNELS["binary_cross_entropy"].refuses(
        (x.reshape(2, 3), x.reshape(2, 3), x[:3]), {}
    )
    assert weight == "the gradient of a broadcast weight would be summed in bfloat16"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("focal", {"gamma": gamma, "alpha": None}) for gamma in (0, 1, 3, 0.5, 1.5)),
        *(("poisson_nll", {"log_input": log, "full": True}) for log in (True, False)),
        ("kl_div", {"log_target": True}),
        ("gaussian_nll", {"full": True}),
        ("smooth_l1", {"beta": 0.0}),
    ],
)
def test_options_that_choose_another_kernel(name, options):
    given = tuple(a[:3000] for a in drawn(name, torch.float64))
    if options.get("log_input") is False:  # rates
        given = tuple(0.1 + a.abs() for a in given)
    for dtype in (torch.float64, torch.float32):
        arrays = tuple(a.to(dtype) for a in given)
        near(
            both(RULES[name], "cpu", arrays, options),
            both(RULES[name], "plain", arrays, options),
            dtype,
        )


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "focal"])
def test_autograd_through_the_rule(name):
    x = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
    rest = (x.detach().flip(0) / 3,)
    if name in ("cross_entropy", "nll_loss"):
        rest = (torch.tensor([1, 0, 3]), None)
    with rule.use("cpu"):
        assert torch.autograd.gradcheck(lambda x: RULES[name](x, *rest), (x,))
        assert torch.autograd.gradgradcheck(lambda x: RULES[name](x, *rest), (x,))
    rows = RULES[name](x, *rest, reduction="none")
    rows.sum().backward()
    expanded, x.grad = x.grad, None
    RULES[name](x, *rest, reduction="sum").backward()
    near((expanded,), (x.grad,))


@pytest.mark.parametrize("kernel", ["cpu", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["cross_entropy", "soft_cross_entropy"])
def test_a_gradient_sums_to_nothing_at_large_logits(name, dtype, kernel):
    """A row of dlogits is sum(q) (p - q / sum(q)): what lse rounds off, |lse| eps, is not in it."""
    logits, target, _ = drawn(name, dtype)
    target = target if name == "cross_entropy" else target.softmax(-1)
    logits = (logits + 300).requires_grad_()
    with rule.use(kernel):
        y = RULES[name](logits, target, None, reduction="sum")
    (dx,) = torch.autograd.grad(y, logits)
    # p and q sum to 1 within the root of 257 roundings of numbers up to 1, and their products
    assert dx.double().sum(-1).abs().max() <= 32 * torch.finfo(dtype).eps / 2
