"""Every entry against itself: calculus, cases that can hurt, options that are loud, rejects."""

import inspect

import numpy as np
import pytest

import bpx
from bpx import dims
from bpx.spec import SpecError
from bpx.verify import verify_spec
from bpx.verify.draw import Draw
from bpx.verify.reference import cases, cotangent, value
from bpx.verify.report import Report

ENTRIES = pytest.mark.parametrize("spec", bpx.ALL, ids=lambda s: s.name)


@ENTRIES
def test_backward_is_the_derivative_of_forward(spec):
    report = Report(verify_spec(spec)).check()
    assert report.compared, "every case was left out"


@ENTRIES
def test_names_are_unique(spec):
    assert [s.name for s in bpx.ALL].count(spec.name) == 1
    names = [c.name for c in spec.cases(Draw(spec.name))]
    assert len(names) == len(set(names)), names


@ENTRIES
def test_first_case_is_generic(spec):
    """Structural checks use it: no kink, no edge, distinct sizes, something in every argument."""
    first = cases(spec)[0]
    assert not first.kink
    for name, a in first.arrays.items():
        assert a is None or np.isfinite(a).all(), name


@ENTRIES
def test_no_blind_inputs(spec):
    """No float array holds one value only, and none equals another argument."""
    for case in cases(spec):
        floats = [
            a for a in case.arrays.values() if a is not None and np.asarray(a).dtype.kind == "f"
        ]
        for i, a in enumerate(floats):
            if a.size > 1 and not case.constant:
                assert np.ptp(a[np.isfinite(a)]) > 0 or not np.isfinite(a).all(), case.name
            assert (
                case.kink
                or not any(  # a kink of x - target is where they are equal
                    a.size and a.shape == b.shape and np.array_equal(a, b) for b in floats[:i]
                )
            ), f"{case.name}: two arguments are equal"


@ENTRIES
def test_sizes_of_zero_and_of_one(spec):
    shapes = [np.shape(a) for c in cases(spec) for a in c.arrays.values() if a is not None]
    assert any(0 in shape for shape in shapes), "no case without elements"
    assert any(1 in shape or shape == () for shape in shapes), "no case with a size of 1"


@ENTRIES
def test_every_option_is_loud(spec):
    """In at least one case each option differs from its default and changes the result, or a
    gradient alone."""
    for option, default in spec.options.items():
        heard = False
        for case in cases(spec):
            if case.options[option] == default:
                continue
            y = value(spec, case)[0]
            try:
                with np.errstate(all="ignore"):
                    options = {**case.options, option: default}
                    quiet = spec.forward(*case.arrays.values(), **options)[0]
                    grads, without = (
                        spec.backward(cotangent(spec, case), *case.arrays.values(), **o)
                        for o in (case.options, options)
                    )
            except (ValueError, IndexError):  # these arrays need the other value
                heard = True
                continue
            if y.shape != quiet.shape or not np.array_equal(y, quiet, equal_nan=True):
                heard = True
            if any(
                g is not None and not np.array_equal(g, w, equal_nan=True)
                for g, w in zip(grads, without, strict=True)
            ):
                heard = True
        assert heard, f"no case hears option {option}"


@ENTRIES
def test_shapes_are_as_declared(spec):
    for case in cases(spec):
        shapes = tuple(None if a is None else np.shape(a) for a in case.arrays.values())
        bound = spec.bind(shapes, case.options)
        y, residuals = value(spec, case)
        assert np.shape(y) == dims.shape(spec.out_dims(case.options), bound), case.name
        assert len(residuals) == len(spec.residuals)
        for name, r in zip(spec.residuals, residuals, strict=True):
            pattern = spec.residuals[name]
            assert np.shape(r) == dims.shape(pattern, bound), f"{case.name}: {name}"
        with np.errstate(all="ignore"):
            grads = spec.backward(cotangent(spec, case), *case.arrays.values(), **case.options)
        for arg, g in zip(spec.args, grads, strict=True):
            a = case.arrays[arg.name]
            if arg.kind != "float" or a is None:
                assert g is None, f"{case.name}: d{arg.name}"
            else:
                assert np.shape(g) == np.shape(a), f"{case.name}: d{arg.name}"


@ENTRIES
def test_forward_changes_nothing(spec):
    case = cases(spec)[0]
    before = {k: None if a is None else a.copy() for k, a in case.arrays.items()}
    value(spec, case)
    spec.backward(cotangent(spec, case), *case.arrays.values(), **case.options)
    for k, a in case.arrays.items():
        assert a is None or np.array_equal(a, before[k]), k


@ENTRIES
def test_rejects(spec):
    assert spec.rejects, "an entry states at least one mistake and its message"
    for reject in spec.rejects:
        if reject.values or reject.dtypes:
            continue  # the values and dtypes of arrays are the frameworks' to look at
        shapes = tuple(reject.shapes.get(a.name) for a in spec.args)
        with pytest.raises(SpecError) as caught:
            spec.bind(shapes, spec.complete(reject.options))
        message = str(caught.value)
        assert reject.message in message, message
        assert message.startswith(f"{spec.name}: "), message
        assert "expected" in message or "it takes" in message, message


@ENTRIES
def test_docstring_has_a_formula_and_a_source(spec):
    assert any(line.startswith("    ") for line in spec.doc.splitlines()), "no indented formula"
    assert "Source:" in spec.doc
    assert set(inspect.signature(spec.forward).parameters) or spec.elementwise


def test_draws_are_reproducible_and_generic():
    a, b = Draw("x")(3, 4), Draw("x")(3, 4)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, Draw("y")(3, 4))
    assert 0 < Draw("x").uniform(50).min() < Draw("x").uniform(50).max() < 1
    assert set(Draw("x").index(3, 100)) == {0, 1, 2}
