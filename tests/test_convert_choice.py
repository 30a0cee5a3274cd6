"""What convert leaves alone and says why, and what it can be told."""

import importlib

import pytest

from bpx import _faces, docs
from bpx._page import entries
from bpx.spec import SpecError

torch = pytest.importorskip("torch")
nn = torch.nn
bpx_torch = importlib.import_module("bpx_torch")
NOTES = importlib.import_module("bpx_torch._convert_report").NOTES
convert = bpx_torch.convert


class OwnForward(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class NoForward(nn.Linear):
    pass


class Subclass(torch.Tensor):
    pass


def patched():
    layer = nn.Linear(3, 3)
    layer.forward = lambda x: x
    return layer


def holding(tensor):
    layer = nn.Linear(3, 3)
    layer.weight = nn.Parameter(tensor)
    return layer


LEFT = {
    "own forward": (lambda: OwnForward(3, 3), r"subclass of torch.nn.Linear, with a forward of it"),
    "subclass": (lambda: NoForward(3, 3), r"subclass of torch.nn.Linear: only the type itself"),
    "patched": (patched, "its forward was replaced on the module itself"),
    "inplace": (lambda: nn.ReLU(inplace=True), r"inplace=True: a rule gives a new tensor"),
    "lazy": (lambda: nn.LazyLinear(3), "lazy"),
    "sparse": (lambda: nn.Embedding(3, 3, sparse=True), "sparse=True is not offered"),
    "by frequency": (lambda: nn.Embedding(3, 3, scale_grad_by_freq=True), "scale_grad_by_freq="),
    "projection": (lambda: nn.LSTM(3, 3, proj_size=2), "proj_size=2 is not offered"),
    "bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), "mode='bicubic' is not"),
    "p": (lambda: nn.TripletMarginLoss(p=1.0), r"p=1.0 is not offered"),
    "complex": (lambda: nn.Linear(3, 3, dtype=torch.complex64), "torch.complex64, and bpx is real"),
    "tensor": (lambda: holding(torch.ones(3, 3).as_subclass(Subclass)), "it holds a Subclass"),
    "gap": (nn.Identity, "moves elements and computes nothing"),
    "its own": (lambda: bpx_torch.nn.Linear(3, 3), "bpx's already"),
}


@pytest.mark.parametrize("case", LEFT)
def test_left_alone(case):
    make, reason = LEFT[case]
    layer = make()
    kind, attributes = type(layer), dict(vars(layer))
    report = convert(nn.Sequential(layer, nn.Tanh()))
    assert type(layer) is kind
    assert vars(layer) == attributes
    (left,) = report.left
    assert left.type is kind
    assert left.names == ("0",)
    assert reason in left.reason
    assert left.reason in str(report)
    assert len(report.replaced) == 1


def test_no_reason_is_missing():
    """Every module that bpx_torch.nn refuses by a setting is left alone, not converted to fail."""
    report = convert(nn.MultiheadAttention(4, 2))
    found = {e.names: e.reason for e in report.left} | {c.names: "" for c in report.replaced}
    assert "a subclass of torch.nn.Linear" in found[("out_proj",)]


def test_report():
    blocks = [{"a": nn.Linear(3, 3), "b": nn.Dropout()} for _ in range(12)]
    model = nn.ModuleList(map(nn.ModuleDict, [*blocks, {"c": OwnForward(3, 3)}]))
    report = convert(model)
    lines = str(report).splitlines()
    assert repr(report) == str(report)
    assert lines[0] == "replaced: 24"
    assert lines[1].split() == ["12", "torch.nn.Linear", "->", "bpx_torch.nn.Linear", "*.a"]
    assert lines[2] == "    12  torch.nn.Dropout -> bpx_torch.nn.Dropout  *.b"
    assert lines[3] == "left alone: 1"
    assert "OwnForward" in lines[4]
    assert report.counts == {"torch.nn.Linear": 12, "torch.nn.Dropout": 12}
    assert any("drops other elements" in note for note in report.notes)
    assert len(lines) == 5 + len(report.notes)
    assert "no forward mode" in str(convert(nn.LSTM(2, 2)))
    assert "not reached" not in str(convert(nn.Linear(2, 2)))


def test_forward_mode_is_refused_where_the_report_says_so():
    names = _faces.names("bpx_torch", docs._by_path(entries()))
    without = {n for n, r in bpx_torch.RULES.items() if r.plain.tangent is None}
    faces = {face for n in without for face in names.get(n, ())}
    (said,) = [set(kinds.split()) for kinds, note in NOTES.items() if "forward mode" in note]
    assert {n.removeprefix("nn.") for n in faces if hasattr(nn, n.removeprefix("nn."))} <= said
    assert {"LSTM", "GRUCell"} <= said


def test_inplace():
    layer = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    x = torch.randn(5, 3)
    y = layer(x)
    assert len(convert(layer, inplace=True).replaced) == 2
    torch.testing.assert_close(layer(x), y)


@pytest.mark.parametrize(
    ("options", "converted"),
    [
        ({"include": nn.Linear}, {"a.0", "b.0"}),
        ({"include": "a.*"}, {"a.0", "a.1"}),
        ({"include": ["b.*", nn.Tanh]}, {"a.1", "b.0", "b.1"}),
        ({"exclude": nn.Linear}, {"a.1", "b.1"}),
        ({"exclude": ("*.1", "b.0")}, {"a.0"}),
        ({"include": nn.Linear, "exclude": "b*"}, {"a.0"}),
        ({"include": ()}, set()),
    ],
    ids=lambda v: str(sorted(v)) if isinstance(v, set) else str(v),
)
def test_include_and_exclude(options, converted):
    model = nn.ModuleDict(
        {k: nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for k in ("a", "b")},
    )
    report = convert(model, **options)
    assert {c.names[0] for c in report.replaced} == converted
    assert {e.names[0] for e in report.left} == {"a.0", "a.1", "b.0", "b.1"} - converted
    assert {e.reason for e in report.left} <= {"not in include", "in exclude"}


def test_exclude_by_any_name_of_a_shared_module():
    model = nn.ModuleDict({"a": nn.Linear(2, 2)})
    model["b"] = model["a"]
    assert not convert(model, exclude="b").replaced
    assert convert(model, include="b").replaced[0].names == ("a", "b")


def test_refuses_other_choices():
    with pytest.raises(SpecError, match="include or exclude holds 3, expected a type or a name"):
        convert(nn.Linear(2, 2), exclude=[nn.Tanh, 3])
