"""linear_cross_entropy by the native core in JAX, its gradients in forward and in backward, beside
the plain rule."""

import functools
import itertools

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx import native
from bpx.rule import use
from bpx_jax.fused.linear_cross_entropy import RULE, linear_cross_entropy
from bpx_jax.kernels.cpu import linear_cross_entropy as kernel
from tests.linear_cross_entropy_runs import OPTIONS, draws
from tests.observed import answers

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

ALL = (0, 1, 3, 4)  # the places of x, weight, bias and class_weight


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def early(monkeypatch):
    """Whether what is compiled takes gradients in forward."""
    jax.clear_caches()
    yield answers(monkeypatch, kernel, "worth")
    jax.clear_caches()


@pytest.fixture(params=[1, 4, 256], ids="blocks of {}".format)
def blocks(monkeypatch, request):
    """Rows one by one, in blocks of 4 of which the last has fewer, and all at once."""
    monkeypatch.setattr(kernel, "ROWS", request.param)


def arrays(rows=21, features=5, classes=31, bias=True):
    found = draws(rows, features, classes, seed=classes, bias=bias, weights=bias)
    shape = (3, 7) if rows == 21 else (rows,)
    found["x"] = found["x"].reshape(*shape, features)
    found["target"] = found["target"].reshape(shape)
    return [None if a is None else jnp.asarray(a) for a in found.values()]


def run(name, given, options, asked=ALL, wrap=lambda f: f):
    """y, and its gradients for a dy that is not 1."""

    def loss(*given):
        y = linear_cross_entropy(*given, **options)
        dy = jnp.linspace(-1.5, 2, y.size).reshape(y.shape) + 0.25
        return (dy * y).sum(), y

    asked = [i for i in asked if given[i] is not None]
    with use(name):
        grads, y = wrap(jax.grad(loss, asked, has_aux=True))(*given)
    return y, *grads


def same(found, want):
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_plain_rules_gradients(options, early, blocks):
    given = arrays()
    for asked in [ALL, (0, 3), *itertools.combinations(ALL, 1)]:
        same(*(run(n, given, options, asked) for n in ("cpu", "plain")))
    assert set(early) == {options.get("reduction") != "none"}
    given = arrays(bias=False)
    same(*(run(n, given, options, wrap=jax.jit) for n in ("cpu", "plain")))


def test_what_an_ignored_row_holds(early, blocks):
    x, weight, target, *rest = arrays()
    given = x.at[1, 2].set(jnp.nan), weight, target.at[1, 2].set(-100), *rest
    found = run("cpu", given, {})
    same(found, run("plain", given, {}))
    assert all(np.isfinite(a).all() for a in found)
    assert set(early) == {True}


def test_few_rows_are_computed_again(early):
    given = arrays(rows=2, features=9)
    same(*(run(n, given, {"softcap": 2.0, "z_loss": 0.1}) for n in ("cpu", "plain")))
    assert set(early) == {False}


@pytest.mark.parametrize(("rows", "products"), [(21, 3), (2, 4)])
def test_how_often_the_logits_are_computed(rows, products):
    given = arrays(rows=rows, bias=False)
    with use("cpu"):
        lowered = jax.jit(jax.grad(linear_cross_entropy, (0, 1))).lower(*given)
    assert lowered.as_text().count("stablehlo.dot_general") == products


def test_without_gradients_none_are_taken(early):
    given = arrays()
    with use("cpu"):
        found = jax.jit(linear_cross_entropy)(*given)
    same([found], [RULE.forward(*given)[0]])
    assert early == [False]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "softcap": 2.0}], ids=str)
def test_many_rows_and_columns(options, monkeypatch):
    """Several tasks at once, each with a row of its own to write to where nothing is kept."""
    monkeypatch.setattr(kernel, "ROWS", 3000)
    given = arrays(rows=3000, classes=1100)
    with use("cpu"):
        found = jax.jit(functools.partial(linear_cross_entropy, **options))(*given)
    same([found], [RULE.forward(*given, **options)[0]])
    same(*(run(n, given, options, wrap=jax.jit) for n in ("cpu", "plain")))


@pytest.mark.parametrize("options", [{}, {"reduction": "none", "softcap": 2.0}], ids=str)
def test_a_label_out_of_range(options):
    """Under jit nobody sees it: its loss is NaN, and every gradient that it enters."""
    x, weight, target, *rest = arrays()
    given = x, weight, target.at[0, 3].set(31), *rest
    found, want = (run(n, given, options, wrap=jax.jit) for n in ("cpu", "plain"))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1, "chunk": 2}], ids=str)
def test_under_vmap_and_checkpoint(options, early, blocks):
    given = arrays()
    axes = (0, None, 0, None, None)
    for wrap in (functools.partial(jax.vmap, in_axes=axes), lambda f: jax.jit(jax.checkpoint(f))):
        same(*(run(n, given, options, wrap=wrap) for n in ("cpu", "plain")))
    assert True in early


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.2, "softcap": 1.5}], ids=str)
def test_the_second_derivative_is_that_of_the_plain_rule(options, early):
    given = arrays(rows=12, features=2, classes=9)

    def second(name):
        def first(*given):
            with use(name):
                grads = jax.grad(linear_cross_entropy, ALL)(*given, **options)
            return sum(jnp.square(g).sum() for g in grads)

        return jax.jit(jax.grad(first, ALL))(*given)

    same(second("cpu"), second("plain"))
    assert True in early


def test_what_it_refuses():
    x, weight, target, *rest = arrays()
    said = "it takes float32 or float64, one for all"
    assert kernel.refuses((x, weight.astype("float32"), target, *rest), {}) == said
    narrow = x.astype("bfloat16"), weight.astype("bfloat16"), target, None, None
    assert kernel.refuses(narrow, {}) == said
    assert kernel.refuses((x, weight, target.astype("uint32"), *rest), {}) == "target is uint32"
    assert kernel.refuses((x, weight, target, *rest), {}) is None
