"""The plain linear recurrence where the kit does not reach: blocks, long sequences, odd gates.
The native kernels: tests/test_sequence_kernels.py."""

import numpy as np
import pytest

from bpx import rule
from bpx.layers.linear_recurrence import SPEC
from bpx.verify.bound import UNIT

FRAMEWORKS = ("torch", "jax")


@pytest.fixture(autouse=True)
def plain():
    with rule.use("plain"):
        yield


def draws(*shape, seed=0, gates=lambda g: g.standard_normal):
    g = np.random.default_rng(seed)
    a = gates(g)(shape)
    return (
        a,
        g.standard_normal(shape),
        g.standard_normal((*shape[:-2], shape[-1])),
        g.standard_normal(shape),
    )


def slow_gates(g):
    """Gates in which a state lives for a thousand steps."""
    return lambda shape: 1 - 1e-3 * g.uniform(size=shape)


def run(framework, a, b, h0, dy, dtype="float64", **options):
    """y and the gradients of one framework, as float64."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        from bpx_torch.layers.linear_recurrence import linear_recurrence

        given = [torch.tensor(v, dtype=getattr(torch, dtype)) for v in (a, b, h0, dy)]
        leaves = [v.requires_grad_() for v in given[:3]]
        y = linear_recurrence(*leaves, **options)
        grads = torch.autograd.grad(y, leaves, given[3])
        return [v.detach().double().numpy() for v in (y, *grads)]
    jax = pytest.importorskip("jax")
    from bpx_jax.layers.linear_recurrence import linear_recurrence

    *leaves, dy = (jax.numpy.asarray(v, dtype) for v in (a, b, h0, dy))
    y, vjp = jax.vjp(lambda *v: linear_recurrence(*v, **options), *leaves)
    return [np.asarray(v.astype("float64")) for v in (y, *vjp(dy))]


def reference(a, b, h0, dy, **options):
    options = SPEC.complete(options)
    y = SPEC.forward(a, b, h0, **options)[0]
    return [y, *SPEC.backward(dy, a, b, h0, **options)]


def assert_within(found, given, dtype, what, **options):
    """Every result within the roundings of its steps, of the terms' own sizes (the reference at
    absolute values): 2 for each step that a term passes through, as many again for the blocks."""
    want = reference(*given, **options)
    sizes = reference(*map(np.abs, given), **options)
    for name, f, w, size in zip(("y", "da", "db", "dh0"), found, want, sizes, strict=True):
        worst = (np.abs(f - w) / (4 * given[0].shape[-2] * UNIT[dtype] * size + 1e-300)).max()
        assert worst <= 1, f"{what}: {name} is {worst:.3g} of the bound"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 6, 7, 8, 9, 10, 24, 25, 26, 35, 36, 37, 48])
def test_blocks_in_torch(steps, reverse):
    given = draws(2, steps, 3, seed=steps)
    found = run("torch", *given, reverse=reverse)
    assert_within(found, given, "float64", f"{steps} steps", reverse=reverse)


@pytest.mark.parametrize("kernel", [None, "plain"])
@pytest.mark.parametrize(
    ("steps", "reverse"), [(1, False), (1, True), (2, False), (6, True), (7, False)]
)
def test_second_derivatives_through_the_states_kept_of_few_steps(steps, reverse, kernel):
    """By every way that torch has, against those of autodiff of the plain forward."""
    torch = pytest.importorskip("torch")
    from torch.autograd import functional

    from bpx_torch.layers.linear_recurrence import RULE, linear_recurrence

    *arrays, dy = (torch.tensor(v).requires_grad_() for v in draws(2, steps, 3, seed=steps))

    def curved(f):
        return lambda *v: (f(*v, reverse=reverse).sin() * dy.detach()).sum()

    want = functional.hessian(curved(RULE.plain_value), tuple(arrays))
    ours = curved(linear_recurrence)
    forward = {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}
    with rule.use(kernel):
        ways = [
            *(functional.hessian(ours, tuple(arrays), **o) for o in ({}, forward)),
            functional.hessian(ours, tuple(arrays), vectorize=True),  # by is_grads_batched
            torch.func.hessian(ours, (0, 1, 2))(*arrays),
            torch.func.jacrev(torch.func.grad(ours, (0, 1, 2)), (0, 1, 2))(*arrays),
        ]
    for found in ways:
        torch.testing.assert_close(tuple(found), want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("steps", "reverse"), [(2, False), (17, True)])
def test_sizes_in_jax(steps, reverse):
    given = draws(2, steps, 3, seed=steps)
    found = run("jax", *given, reverse=reverse)
    assert_within(found, given, "float64", f"{steps} steps", reverse=reverse)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gates_that_shut_flip_and_grow(framework):
    """Nothing divides by a gate or by a product of gates."""
    a, b, h0, dy = draws(1, 41, 6)
    a[0, :, 0] *= 1.5
    a[0, ::3, 1] = 0.0
    a[0, :, 2] = 0.0
    a[0, :, 3] = -1.2
    a[0, :, 4] = 1e-30  # products underflow to 0
    found = run(framework, a, b, h0, dy, "float32")
    given = [v.astype("float32").astype("float64") for v in (a, b, h0, dy)]
    want, limit = reference(*given), 4 * 41 * UNIT["float32"]
    for f, w, size in zip(found, want, reference(*map(np.abs, given)), strict=True):
        assert (np.abs(f - w) <= limit * size + 1e-37).all()


@pytest.mark.parametrize(("framework", "reverse"), [("torch", False), ("jax", True)])
def test_a_thousand_steps(framework, reverse):
    given = draws(1, 1000, 3, gates=slow_gates)
    given = [v.astype("float32").astype("float64") for v in given]
    found = run(framework, *given, "float32", reverse=reverse)
    want = reference(*given, reverse=reverse)
    for f, w in zip(found, want, strict=True):  # the roundings of a random walk: sqrt(1000) = 32
        assert np.abs(f - w).max() <= 64 * UNIT["float32"] * np.abs(w).max()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bfloat16_is_rounded_once(framework):
    """A state held in bfloat16 would stop growing at 256 steps of 1."""
    a, b, h0, dy = draws(1, 1000, 2)
    a, b = np.full_like(a, 1.0), 1 + np.abs(b).round()  # exact in bfloat16
    given = [a, b, h0.round(), dy.round()]
    y, *grads = run(framework, *given, "bfloat16")
    want, *slopes = reference(*given)
    assert want.max() > 1000
    assert (np.abs(y - want) <= UNIT["bfloat16"] * np.abs(want)).all()
    for g, w in zip(grads[1:], slopes[1:], strict=True):  # da is of y, which bfloat16 holds
        assert np.abs(g - w).max() <= 2 * UNIT["bfloat16"] * np.abs(w).max()


def test_torch_takes_about_three_roots_of_the_steps():
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    from bpx_torch.layers.linear_recurrence import linear_recurrence

    class Count(TorchDispatchMode):
        products = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.products += func.overloadpacket in (torch.ops.aten.addcmul, torch.ops.aten.mul)
            return func(*args, **(kwargs or {}))

    a, b, h0, dy = map(torch.tensor, draws(1, 1024, 2))
    a.requires_grad_()
    with Count() as count:
        linear_recurrence(a, b, h0).backward(dy)
    assert count.products <= 2 * 4 * 32 + 8  # two passes of 32 steps, 32 gates, 32 blocks; twice


def test_jax_has_no_loop_over_steps_but_on_a_cpu():
    jax = pytest.importorskip("jax")
    from bpx_jax.layers.linear_recurrence import linear_recurrence

    a, b, h0, dy = map(jax.numpy.asarray, draws(1, 64, 2))
    program = jax.jit(jax.grad(lambda *v: (linear_recurrence(*v) * dy).sum(), (0, 1, 2)))
    for platform in ("cpu", "cuda"):
        text = program.trace(a, b, h0).lower(lowering_platforms=(platform,)).as_text()
        assert "multiply" in text
        assert ("while" in text) == (platform == "cpu"), platform


@pytest.mark.parametrize("reverse", [False, True])
def test_the_ways_of_jax_agree(reverse):
    jax = pytest.importorskip("jax")
    from bpx_jax.layers.linear_recurrence import in_turn, together

    a, b, *_ = map(jax.numpy.asarray, draws(2, 37, 3))
    weight = jax.numpy.asarray(draws(2, 37, 3, seed=1)[0])

    def weighed(way):
        of = lambda a, b: (way(a, b, reverse=reverse) * weight).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(of, (0, 1)))(a, b)

    (value, grads), (want, slopes) = weighed(in_turn), weighed(together)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    for g, w in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10)
