"""NaN and infinities in any argument: what the specification shows, plain and cpu kernels show.

One element of one argument is NaN, inf or -inf, for every case of every entry. y is NaN, inf or
-inf exactly where the specification's is, so that a broken number is seen in a loss or further on;
and where y does not show it, a gradient that the specification has finite is finite.
"""

import importlib
import importlib.util

import numpy as np
import pytest

from bpx.verify.draw import Draw

RULES = {
    f: importlib.import_module(f"bpx_{f}").RULES
    for f in ("torch", "jax")
    if importlib.util.find_spec(f)
}
VALUES = (np.nan, np.inf, -np.inf)
LARGEST = 3000  # elements of an argument
OF_JAX = 2  # cases of an entry, NaN alone: an operation of jax that is not compiled takes long

# (entry, argument): why y may be another number that is not finite
OTHERWISE = {
    ("binary_cross_entropy", "x"): "no probability: the logarithm of a negative number is NaN",
    ("jsd", "x"): "inf is no log-probability: its mass is inf, or inf / inf",
    ("jsd", "target"): "inf is no log-probability: its mass is inf, or inf / inf",
    ("info_nce", "key"): "logits of inf and -inf in one row: inf, or inf - inf",
    ("linear_cross_entropy", "class_weight"): "inf - inf, by the order in which classes are added",
}

# (entry, argument): why a gradient of a finite y may be NaN where the specification's is not
DROPPED = {
    ("rnn", "w_hh"): "times the zeros of steps that do not run",
    ("gru", "w_hh"): "times the zeros of steps that do not run",
    ("lstm", "w_hh"): "times the zeros of steps that do not run",
    ("ctc_loss", "log_probs"): "of a state that no path of this target goes through",
    ("linear_cross_entropy", "weight"): "times the zeros of rows that are ignored",
    ("linear_cross_entropy", "bias"): "times the zeros of rows that are ignored",
    ("linear_cross_entropy", "class_weight"): "times the zeros of rows that are ignored",
}

# (entry, argument): why, in JAX, some elements of y are finite that the specification has NaN
SKIPPED = {
    (name, "weight"): "XLA does not multiply with the zeros of a padding"
    for name in ("conv", "conv_feedback_alignment", "conv_sign_symmetric")
}


def planted(spec, cases, values):
    """(case, argument, arrays of which one element is not finite)."""
    for case in cases:
        arrays = [case.arrays.get(arg.name) for arg in spec.args]
        if not all(0 < np.size(a) <= LARGEST for a in arrays):
            continue
        arrays = [
            np.array(a, np.float64) if a is not None and arg.kind == "float" else a
            for arg, a in zip(spec.args, arrays, strict=True)
        ]
        for i, arg in enumerate(spec.args):
            if arg.kind != "float" or arrays[i] is None:
                continue
            for value in values:
                broken = arrays[i].copy()
                broken.flat[7 * broken.size // 13] = value
                yield case, arg.name, [*arrays[:i], broken, *arrays[i + 1 :]]


def kinds(a):
    """0 finite, 1 NaN, 2 inf, 3 -inf, element by element."""
    a = np.asarray(a)
    return np.isnan(a) + 2 * np.isposinf(a) + 3 * np.isneginf(a)


def found(rule, kernel, case, arrays, dy, asarray):
    """(y, gradients) of one kernel, None where it refuses."""
    given = tuple(None if a is None else asarray(a) for a in arrays)
    options, dims = rule.bind(tuple(None if a is None else a.shape for a in given), case.options)
    if kernel.refuses(given, {**dims, **options}) is not None:
        return None
    y, residuals = rule.forward(*given, kernel=kernel.name, **options)
    if dy is None:
        return y, ()
    return y, rule.backward(asarray(dy), given, residuals, kernel=kernel.name, **options)


def differ(rule, kernel, values, only, asarray):
    """Where a kernel differs from the specification; only: the first cases, without gradients."""
    spec, wrong, compared = rule.spec, [], 0
    cases = list(spec.cases(Draw(spec.name)))[:only]
    for case, at, arrays in planted(spec, cases, values):
        options = spec.complete(case.options)
        with np.errstate(all="ignore"):
            want = np.asarray(spec.forward(*arrays, **options)[0])
            dy = np.asarray(Draw(spec.name, 3)(*want.shape)) if only is None else None
            gradients = () if dy is None else spec.backward(dy, *arrays, **options)
        got = found(rule, kernel, case, arrays, dy, asarray)
        if got is None:
            continue
        compared += 1
        y, grads = np.asarray(got[0]), got[1]
        alike = kinds(y) == kinds(want)
        if (spec.name, at) in OTHERWISE:
            alike = np.isfinite(y) == np.isfinite(want)
        if only is not None and (spec.name, at) in SKIPPED:
            alike = not np.isfinite(y).all()
        if not np.all(alike):
            wrong.append(f"{case.name}, {at}: y")
        if not np.isfinite(want).all() or (spec.name, at) in DROPPED:
            continue
        for arg, g, w in zip(spec.args, grads, gradients, strict=False):
            if g is not None and w is not None and np.isfinite(w).all():
                if not np.isfinite(np.asarray(g)).all():
                    wrong.append(f"{case.name}, {at}: d{arg.name}")
    assert compared or kernel.name != "plain", "nothing was compared"
    return wrong


@pytest.mark.parametrize("name", RULES.get("torch", ()))
def test_torch(name):
    import torch

    rule = RULES["torch"][name]
    for kernel in rule.kernels:
        if kernel.name != "triton":
            wrong = differ(rule, kernel, VALUES, None, lambda a: torch.from_numpy(np.array(a)))
            assert not wrong, kernel.name


@pytest.mark.parametrize("name", RULES.get("jax", ()))
def test_jax(name):
    import jax

    rule = RULES["jax"][name]
    with jax.enable_x64(True):
        for kernel in rule.kernels:
            if kernel.name in ("plain", "cpu"):
                wrong = differ(rule, kernel, VALUES[:1], OF_JAX, jax.numpy.asarray)
                assert not wrong, kernel.name
