"""What of a function is written down as steps for a node, and what refuses."""

import ast
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import bpx_torch
from bpx_torch import _fast
from bpx_torch._recording import _made
from bpx_torch._steps import OPERATIONS, Operation, Places, Refused, watched

X, W = torch.randn(4, 3), torch.randn(5, 3)


def steps_of(function, *given):
    """(the packed steps, where the result is)."""
    steps, fresh, y = watched(lambda: function(*given), False)
    made = _made(steps, fresh, given, [y])
    places = Places(given, made)
    return [s.packed(places) for s in steps], places.of(y)


def test_operations_in_their_order_with_all_arguments():
    packed, y = steps_of(lambda x, w: torch.nn.functional.linear(x, w).sum(0), X, W)
    assert packed == [
        ("aten::t", "", [(1, 1)]),
        ("aten::mm", "", [(1, 0), (2, 0)]),
        ("aten::sum", "dim_IntList", [(2, 1), [0], False, None]),
    ]
    assert y == (2, 2)


def test_arguments_by_name_and_types():
    packed, _ = steps_of(lambda x: x.sum(1, keepdim=True, dtype=torch.float64), X)
    assert packed == [("aten::sum", "dim_IntList", [(1, 0), [1], True, torch.float64])]


def test_an_array_seen_as_it_was_is_the_first_one():
    """A slice of everything comes after what reads the array it is of."""
    packed, y = steps_of(lambda x, w: torch.mm(x, w.t()).narrow(1, 0, 5), X, W)
    assert packed[1:] == [
        ("aten::mm", "", [(1, 0), (2, 0)]),
        ("aten::slice", "Tensor", [(2, 1), 1, 0, 5, 1]),
    ]
    assert y == (2, 1)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x, w: x.sum(0) * w.sum().item(), "are not recorded"),
        (lambda x, w: torch.mm(x, w.t()).add_(1), "are not recorded"),
        (lambda x, w: x * 2, "are not recorded"),
        (lambda x, w: x.view(12), "a result is an argument"),
        (lambda x, w: x, "a result is an argument"),
        (lambda x, w: torch.mm(x, w.t())[1:], "is a part of another"),
        (lambda x, w: torch.mm(x, w.t()).t(), "is a part of another"),
        (lambda x, w: X.double(), "are not recorded"),
        (lambda x, w: torch.mm(x, W.t()), "an array is from elsewhere"),
        (lambda x, w: torch.mm(x, torch.ones(3, 2)), "are not recorded"),
        (lambda x, w: torch.mm(x, torch.tensor([[1.0], [2.0], [3.0]])), "are not recorded"),
        (lambda x, w: torch.empty(3), "a result is not of a step"),
    ],
    ids=[
        *("reads a number", "writes", "another operation", "a view", "an argument", "a part"),
        *("turned", "converts", "an array from elsewhere", "new numbers"),
        *("numbers of Python", "nothing"),
    ],
)
def test_refused(function, why):
    with pytest.raises(Refused, match=why):
        steps_of(function, X.clone(), W.clone())


def test_two_results_that_are_one_array():
    steps, fresh, y = watched(lambda: torch.mm(X, W.t()), False)
    with pytest.raises(Refused, match="another result"):
        _made(steps, fresh, (X, W), [y, y])


def test_an_argument_that_is_no_constant():
    step = Operation(torch.ops.aten.mm.default, (X, {"a": 1}), {}, X)
    with pytest.raises(Refused, match=r"an argument is \{'a': 1\}"):
        step.packed(Places((X,), ()))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_gives_one_new_value(name):
    """Of its arguments alone: no random numbers, nothing written."""
    parts = name.split(".")
    schema = getattr(getattr(torch.ops.aten, parts[1]), parts[2])._schema
    assert [str(r.type) for r in schema.returns] == ["Tensor"]
    assert not schema.is_mutable
    assert (
        torch.Tag.nondeterministic_seeded
        not in getattr(getattr(torch.ops.aten, parts[1]), parts[2]).tags
    )


def test_no_recorded_kernel_reads_numbers_unseen():
    """tolist and numpy go past the dispatch mode, which sees item."""
    home = Path(bpx_torch.__file__).parent
    files = [*(home / "kernels" / "cpu").glob("*.py")]
    files += [home / "layers" / f"{name}.py" for name in _fast.REPEATED]
    files += [home / "_conv.py", *(home / "layers").glob("conv*.py")]
    assert len(files) > 40
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("tolist", "numpy"), f"{file.name}:{node.lineno}"
