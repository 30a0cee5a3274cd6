"""group_norm, instance_norm and batch_norm in Triton, in the interpreter, where a tile is smaller
than a line: lines of several parts and blocks, several lines in a tile, both layouts."""

import pytest

torch = pytest.importorskip("torch")
kernel = pytest.importorskip("bpx_torch.kernels.triton._standardize")

from bpx.rule import use
from bpx_torch import RULES

TOLERANCE = 2.0**-46
OPTIONS = {
    "group_norm": {"num_groups": 2, "eps": 1e-5},
    "instance_norm": {"eps": 1e-5},
    "batch_norm": {"training": True, "eps": 1e-5},
}
SHAPES = {
    "long lines": (2, 4, 3, 5),
    "short lines": (3, 4, 3),
    "channels last": (2, 4, 3, 5),
    "two dims": (19, 4),
}


ONE = [(16, 3)]


@pytest.fixture(params=[(2, 30), *ONE], ids=str)
def tiles(request, monkeypatch):
    """How many elements a program has at once, and how many programs are wanted."""
    tile, many = request.param
    monkeypatch.setattr(kernel, "TILE", tile)
    monkeypatch.setattr(kernel, "STRIP", min(4, tile))
    monkeypatch.setattr(kernel, "ENTRIES", 4)
    monkeypatch.setattr(kernel, "programs", lambda x: many)
    kernel.plan.cache_clear()
    yield
    kernel.plan.cache_clear()


def draw(shape, mean=0.7):
    generator = torch.Generator().manual_seed(11)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    x, dy = normal(*SHAPES[shape]) + mean, normal(*SHAPES[shape])
    if shape == "channels last":
        x = x.to(memory_format=torch.channels_last)
    arrays = x, normal(4), normal(4)
    return [a.requires_grad_() for a in arrays], dy


def both(entry, name, given, dy, needs, **more):
    running = more.pop("running", (None, None))
    given = [*given, *running] if entry == "batch_norm" else given
    asked = [a for a in given if a is not None]
    asked = asked if needs is None else [asked[i] for i in needs]
    with use(name, interpret=name == "triton"):
        y = RULES[entry](*given, **{**OPTIONS[entry], **more})
        return [y, *torch.autograd.grad(y, asked, dy)]


def alike(found, wanted, limit):
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= limit * b.abs().max()


CASES = [(e, s) for e in OPTIONS for s in SHAPES if e != "instance_norm" or s != "two dims"]


@pytest.mark.parametrize(("entry", "shape"), CASES)
def test_lines_longer_than_a_tile(entry, shape, tiles):
    given, dy = draw(shape)
    found, wanted = (both(entry, name, given, dy, None) for name in ("triton", "plain"))
    alike(found, wanted, TOLERANCE)
    assert found[0].stride() == found[1].stride() == given[0].stride()


@pytest.mark.parametrize("tiles", ONE, indirect=True, ids=str)
@pytest.mark.parametrize("needs", [(0,), (1,), (0, 2)], ids=str)
@pytest.mark.parametrize("entry", OPTIONS)
def test_some_gradients_alone(entry, needs, tiles):
    given, dy = draw("long lines")
    found, wanted = (both(entry, name, given, dy, needs) for name in ("triton", "plain"))
    alike(found, wanted, TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics_are_arguments(shape, tiles):
    given, dy = draw(shape)
    running = [torch.linspace(a, b, 4, dtype=torch.float64) for a, b in ((-1, 2), (0.3, 1.7))]
    more = {"training": False, "running": [r.requires_grad_() for r in running]}
    found, wanted = (
        both("batch_norm", name, given, dy, None, **more) for name in ("triton", "plain")
    )
    alike(found, wanted, TOLERANCE)


@pytest.mark.parametrize("tiles", ONE, indirect=True, ids=str)
@pytest.mark.parametrize("entry", OPTIONS)
def test_a_large_mean_costs_no_digits(entry, tiles):
    """Against the same values with the mean taken off, which is exact here."""
    (x, *parameters), dy = draw("long lines", mean=0)
    with torch.no_grad():
        x.copy_((x * 2.0**10).round() / 2.0**10)
    far = (x.detach() + 2.0**30).requires_grad_()
    near = both(entry, "triton", [x, *parameters], dy, (0,))
    away = both(entry, "triton", [far, *parameters], dy, (0,))
    for a, b in zip(away, near, strict=True):
        # the mean is rounded by 2^30 eps of a standard deviation of 1
        assert (a - b).abs().max() <= 2.0**-18 * b.abs().max()
