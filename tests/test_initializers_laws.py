"""Every initializer against its law and structure, and the tester against planted mistakes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bpx.initializers import ALL, axes_of, fans, sample
from bpx.spec import SpecError
from tests.initializer_laws import LAWS, STRUCTURES, check

BY_NAME = {s.name: s for s in ALL}
TRIALS = [pytest.param(s, t, id=f"{s.name}-{t}") for s in ALL for t in s.trials]


@pytest.mark.parametrize(("spec", "trial"), TRIALS)
def test_law_and_structure(spec, trial):
    check(spec, trial)


@pytest.mark.parametrize("trial", BY_NAME["orthogonal"].trials, ids=str)
@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5), (7, 3, 2), (1, 6), (6, 1)], ids=str)
def test_orthogonal_of_any_shape(shape, trial):
    options = {"gain": 1.0, **trial, "axis": trial.get("axis", 0) % len(shape)}
    STRUCTURES["orthogonal"](sample("orthogonal", 2, shape, np.float64, **options), options)


def test_tables_name_entries_alone():
    assert not (LAWS.keys() | STRUCTURES.keys()) - BY_NAME.keys()


def scaled(w, noise, shape, o):
    return 1.02 * w


def stretched(w, noise, shape, o):
    return 1.1 * w


def shifted(w, noise, shape, o):
    return w + 0.03 * w.std()


def clipped(w, noise, shape, o):
    return np.clip(w, -1.9 / 2 * np.abs(w).max(), 1.9 / 2 * np.abs(w).max())


def other(name, **options):
    """The draw of another entry, or of this one with other options."""

    def mutant(w, noise, shape, o):
        entry = BY_NAME[name]
        known = {k: v for k, v in (o | options).items() if k in entry.options}
        return entry.from_noise(noise, shape, **entry.options | known)

    return mutant


def unsigned(w, noise, shape, o):
    """As LAPACK leaves it without the correction: one element has the same sign for every key."""
    return -np.sign(w[np.unravel_index(np.argmax(w != 0), shape)]) * w


def rolled(axis):
    return lambda w, noise, shape, o: np.roll(w, 1, axis)


def first_rows(w, noise, shape, o):
    """The zeros of every column in the same rows."""
    return o["std"] * noise("normal", shape) * (w[:, :1] != 0)


def one_more(w, noise, shape, o):
    w = w.copy()
    w[np.argmax(w[:, 0] != 0), 0] = 0
    return w


FANNED = [s.name for s in ALL if "layout" in s.options and s.name in LAWS and "delta" not in s.name]
SPREAD = [name for name in LAWS if name != "sparse"]
MUTANTS = [
    *((n, {}, scaled) for n in SPREAD),
    *((n, {}, shifted) for n in SPREAD),
    *((n, {}, rolled(2)) for n in ("dirac", "delta_orthogonal")),
    # a layout not followed: the shape is read as (out, in, *field)
    *((n, {"layout": "HWIO"}, other(n, layout=None)) for n in (*FANNED, "dirac")),
    *((f"kaiming_{d}", {}, other(f"kaiming_{d}", mode="fan_out")) for d in ("uniform", "normal")),
    # jax's tests pass a he_normal that is a lecun_normal
    ("kaiming_normal", {}, other("lecun_normal", distribution="normal")),
    ("xavier_normal", {}, other("xavier_normal", distribution="truncated_normal")),
    ("lecun_normal", {}, other("lecun_normal", distribution="normal")),
    ("lecun_normal", {}, clipped),
    ("truncated_normal", {}, clipped),
    ("truncated_normal", {"std": 0.02}, other("truncated_normal", bounds="sigma")),
    ("uniform", {"a": -0.7, "b": 2.1}, other("uniform", b=2.0)),
    ("normal", {}, other("truncated_normal", a=-4.0, b=3.0)),
    ("orthogonal", {}, unsigned),
    ("orthogonal", {}, other("normal", std=1 / math.sqrt(60))),
    ("delta_orthogonal", {}, unsigned),
    ("identity", {}, rolled(0)),
    ("zeros", {}, lambda w, noise, shape, o: w + 1e-300),
    ("ones", {}, scaled),
    ("constant", {"val": -1.7}, scaled),
    ("dirac", {"groups": 3}, other("dirac", groups=1)),
    ("sparse", {}, first_rows),
    ("sparse", {}, one_more),
    ("sparse", {}, stretched),
]


@pytest.mark.parametrize(
    ("name", "trial", "mutant"),
    [pytest.param(*m, id=f"{i}-{m[0]}-{m[2].__name__}") for i, m in enumerate(MUTANTS)],
)
def test_the_tester_sees_a_planted_mistake(name, trial, mutant):
    spec = BY_NAME[name]

    def from_noise(noise, shape, **o):
        return mutant(spec.from_noise(noise, shape, **o), noise, shape, o)

    with pytest.raises(AssertionError):
        check(replace(spec, from_noise=from_noise), trial)


def test_the_tester_wants_a_law_or_a_structure():
    with pytest.raises(AssertionError, match="novel has no law"):
        check(replace(BY_NAME["normal"], name="novel"), {})


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (1, 1), (1, 1, 1)], ids=str)
def test_odd_sizes(spec, shape):
    """Weights of that shape, or the reason why there are none."""
    try:
        w = sample(spec, 3, shape)
    except SpecError as error:
        said = str(error)
    else:
        assert w.shape == shape
        assert np.isfinite(w).all()
        said = f"{spec.name}: drawn"
    assert said.startswith(f"{spec.name}: ")


@pytest.mark.parametrize(
    ("layout", "shape", "want"),
    [
        ("OI", (5, 3), (3, 5)),
        ("IO", (3, 5), (3, 5)),
        ("OIW", (5, 3, 7), (21, 35)),
        ("WIO", (7, 3, 5), (21, 35)),
        ("OIHW", (5, 3, 7, 2), (42, 70)),
        ("HWIO", (7, 2, 3, 5), (42, 70)),
        ("IOHW", (3, 5, 7, 2), (42, 70)),
        ("HWOI", (7, 2, 5, 3), (42, 70)),
        ("OIDHW", (5, 3, 7, 2, 4), (168, 280)),
        ("DHWIO", (7, 2, 4, 3, 5), (168, 280)),
        ("NIO", (9, 3, 5), (3, 5)),
    ],
)
def test_fans_of_a_layout(layout, shape, want):
    assert fans(shape, layout=layout) == want
    assert fans(shape, **axes_of(layout)) == want


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: axes_of("HWI"), "axes_of: layout is 'HWI', expected a string of one I, one O"),
        (lambda: axes_of("oi"), "axes_of: layout is 'oi', expected a string of one I, one O"),
        (lambda: axes_of(4), "axes_of: layout is 4, expected a string of one I, one O"),
        (
            lambda: fans((5, 3), layout="HWIO"),
            "fans: layout is 'HWIO' of 4 axes, expected one of 2 for the shape (5, 3)",
        ),
        (
            lambda: fans((5, 3), -2, -1, layout="IO"),
            "fans: in_axis is -2 beside layout 'IO', expected one of the two",
        ),
        (lambda: fans((5,)), "fans: in_axis is 1, expected axes of the shape (5,)"),
        (lambda: fans((0, 3)), "fans: shape is (0, 3), expected no axis of size 0"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(SpecError) as caught:
        call()
    assert str(caught.value).startswith(message)
