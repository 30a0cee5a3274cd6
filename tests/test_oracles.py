"""The spec against each framework's own operation: values on every case, gradients where there is
no kink. Differences are stated in DIFFERS, and are skipped here under their own name."""

import functools
import importlib

import numpy as np
import pytest

import bpx
from bpx.verify.bound import bound, movement
from bpx.verify.draw import Draw
from bpx.verify.finding import compare

FRAMEWORKS = ("torch", "jax")
SPECS = {spec.name: spec for spec in bpx.ALL}


def oracles(framework):
    pytest.importorskip(framework)
    return importlib.import_module(f"bpx_{framework}.oracles")


def cases(spec):
    return {case.name: case for case in spec.cases(Draw(spec.name))}


def arguments(spec, case):
    return [case.arrays.get(arg.name) for arg in spec.args]


def cotangent(spec, case, shape):
    return Draw(f"dy {spec.name} {case.name}")(*shape)


def in_torch(f, arrays, dy, options):
    """y and one gradient per argument: None for an index, an absent one, one torch leaves out."""
    import torch

    given = [None if a is None else torch.from_numpy(np.array(a)) for a in arrays]
    wrt = [a.requires_grad_() for a in given if a is not None and a.is_floating_point()]
    y = f(*given, **options)
    found = iter(torch.autograd.grad(y, wrt, torch.from_numpy(np.array(dy)), allow_unused=True))
    grads = [None if a is None or not a.is_floating_point() else next(found) for a in given]
    return y.detach().numpy(), [None if g is None else g.numpy() for g in grads]


def in_jax(f, calls):
    """(y, gradients) of every call (arrays, dy, options), one program: compiling is what costs."""
    import jax

    def one(arrays, dy, options):
        at = [i for i, a in enumerate(arrays) if a is not None and a.dtype == np.float64]

        def of_floats(*floats):
            full = list(arrays)
            for i, a in zip(at, floats, strict=True):
                full[i] = a
            return f(*full, **options)

        y, back = jax.vjp(of_floats, *(arrays[i] for i in at))
        found = dict(zip(at, back(dy), strict=True))
        return y, [found.get(i) for i in range(len(arrays))]

    options = [c[2] for c in calls]
    with jax.enable_x64(True):
        program = jax.jit(lambda given: [one(*g, o) for g, o in zip(given, options, strict=True)])
        return jax.device_get(program([c[:2] for c in calls]))


@functools.cache
def results(framework, name):
    """(y, gradients) of every case of an entry from the framework's own operation."""
    f, spec = oracles(framework).ORACLES[name], SPECS[name]
    calls = {}
    for case in cases(spec).values():
        arrays, options = arguments(spec, case), spec.complete(case.options)
        with np.errstate(all="ignore"):
            shape = np.shape(spec.forward(*arrays, **options)[0])
        calls[case.name] = (arrays, cotangent(spec, case, shape), options)
    if framework == "torch":
        return {case: in_torch(f, *call) for case, call in calls.items()}
    if not spec.elementwise or len(spec.args) > 1:
        return dict(zip(calls, in_jax(f, list(calls.values())), strict=True))
    together = {}  # shapes do not matter: the cases with equal options are one array
    for case, (_, _, options) in calls.items():
        together.setdefault(str(options), []).append(case)
    found = {}
    for group in together.values():
        x, dy = (
            np.concatenate([np.ravel(v) for v in values])
            for values in zip(*((calls[case][0][0], calls[case][1]) for case in group), strict=True)
        )
        [(y, (dx,))] = in_jax(f, [([x], dy, calls[group[0]][2])])
        start = 0
        for case in group:
            shape, size = calls[case][1].shape, calls[case][1].size
            part = slice(start, start + size)
            found[case] = y[part].reshape(shape), [dx[part].reshape(shape)]
            start += size
    return found


def limits(spec, f, arrays, refs):
    moved = movement(f, arrays, refs)
    return [bound(r, m, "float64", spec.elementwise) for r, m in zip(refs, moved, strict=True)]


CASES = [
    pytest.param(framework, spec.name, case, id=f"{framework}-{spec.name}-{case}")
    for framework in FRAMEWORKS
    for spec in bpx.ALL
    for case in cases(spec)
]


@pytest.mark.parametrize(("framework", "name", "case"), CASES)
def test_the_spec_equals_the_frameworks_own_operation(framework, name, case):
    own, spec = oracles(framework), SPECS[name]
    if name not in own.ORACLES:
        pytest.skip(own.MISSING[name])
    differs = own.DIFFERS.get(name, {}).get(case, "")
    if differs.startswith("value"):
        pytest.skip(differs)
    case = cases(spec)[case]
    options, arrays = spec.complete(case.options), arguments(spec, case)
    with np.errstate(all="ignore"):
        want = spec.forward(*arrays, **options)[0]
        dy = cotangent(spec, case, np.shape(want))
        grads = spec.backward(dy, *arrays, **options)
    got, own_grads = results(framework, name)[case.name]

    limit = limits(spec, lambda a: [spec.forward(*a, **options)[0]], arrays, [want])[0]
    eps, ratio, message = compare(got, want, limit, "float64")
    assert not message, f"y {message}"
    assert ratio <= 1, f"y differs by {eps:.1f} eps, {ratio:.3g} of the bound"

    if differs:
        pytest.skip(f"gradient: {differs}")
    if case.kink:
        return
    present = [i for i, g in enumerate(grads) if g is not None]

    def backward(a):
        found = spec.backward(a[0], *a[1:], **options)
        return [found[i] for i in present]

    bounds = limits(spec, backward, [dy, *arrays], [grads[i] for i in present])
    for i, limit in zip(present, bounds, strict=True):
        if own_grads[i] is None:
            continue  # the framework's own operation has no gradient for it
        eps, ratio, message = compare(own_grads[i], grads[i], limit, "float64")
        assert not message, f"d{spec.args[i].name} {message}"
        assert ratio <= 1, (
            f"d{spec.args[i].name} differs by {eps:.1f} eps, {ratio:.3g} of the bound"
        )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_entry_has_an_oracle_or_a_reason(framework):
    own = oracles(framework)
    assert set(own.ORACLES) | set(own.MISSING) == set(SPECS)
    assert not set(own.ORACLES) & set(own.MISSING)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_differences_name_cases_that_exist(framework):
    for name, differs in oracles(framework).DIFFERS.items():
        unknown = set(differs) - set(cases(SPECS[name]))
        assert not unknown, (
            f"{name}: {sorted(unknown)} in DIFFERS, cases are {list(cases(SPECS[name]))}"
        )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_wrong_oracle_is_noticed(framework):
    sin, x = oracles(framework).ORACLES["sin"], Draw("wrong")(3, 5)

    def wrong(x):
        return sin(x) * (1 + 2.0**-40)

    if framework == "torch":
        got, _ = in_torch(wrong, [x], x, {})
    else:
        [(got, _)] = in_jax(wrong, [([x], x, {})])
    limit = limits(SPECS["sin"], lambda a: [np.sin(a[0])], [x], [np.sin(x)])[0]
    assert compare(got, np.sin(x), limit, "float64")[1] > 1
