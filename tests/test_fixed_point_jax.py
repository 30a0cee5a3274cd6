"""Fixed points in JAX: gradients against the exact solve and the unrolled iteration, memory,
errors; in both frameworks, the layer that the kit verifies against `fixed_point`."""

import numpy as np
import pytest

from bpx.spec import SpecError
from tests.equilibrium import H, N, close, numbers


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def jax_step(jax):
    return lambda z, w, x: jax.numpy.tanh(z @ w.T + x)


def jax_problem(jax, **kwargs):
    w, x, dy, *exact = (jax.numpy.asarray(a) for a in numbers(**kwargs))
    return w, x, dy, jax.numpy.zeros((N, H)), exact


def test_jax_equals_the_exact_solve_also_jitted_and_closed_over(jax):
    from bpx_jax import fixed_point

    w, x, dy, z0, (z, dw, dx) = jax_problem(jax)
    f = jax_step(jax)

    def passed(w, x):
        return (fixed_point(f, z0, w, x, tol=1e-15) * dy).sum()

    def closed_over(w, x):
        return (fixed_point(lambda z: f(z, w, x), z0, tol=1e-15) * dy).sum()

    for loss in (passed, closed_over):
        for g, want in zip(jax.jit(jax.grad(loss, (0, 1)))(w, x), (dw, dx), strict=True):
            close(g, want, 1e-12)
    close(jax.grad(passed)(w, x), dw, 1e-12)
    close(fixed_point(f, z0, w, x, tol=1e-15), z, 1e-13)


def test_jax_vmap_and_second_derivative(jax):
    from bpx_jax import fixed_point

    w, x, dy, z0, _ = jax_problem(jax)
    f = jax_step(jax)

    def row(w, x, z0, dy):
        return (fixed_point(f, z0, w, x, tol=1e-15) * dy).sum()

    def unrolled(w, x, z0, dy):
        z = jax.lax.scan(lambda z, _: (f(z, w, x), None), z0, None, length=80)[0]
        return (z * dy).sum()

    def gradients(loss):
        g = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (None, 0, 0, 0)))(w, x, z0, dy)
        square = lambda w: (jax.grad(loss)(w, x[0], z0[0], dy[0]) ** 2).sum()  # noqa: E731
        return (*g, jax.jit(jax.grad(square))(w))

    for a, b in zip(gradients(row), gradients(unrolled), strict=True):
        close(a, b, 1e-11)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda x: row(w, x, z0[0], dy[0]), (x[0],), (x[0],))


def test_jax_keeps_z_and_the_arguments_alone_and_takes_pytrees(jax):
    from bpx_jax import fixed_point
    from bpx_jax._checks import saved_bytes

    jnp = jax.numpy
    w, x, dy, z0, (_, dw, dx) = jax_problem(jax)

    def f(z, p):
        return {"z": jnp.tanh(z["z"] @ p["w"].T + p["x"]), "half": z["z"] / 2}

    def solve(w, x):
        start = {"z": z0, "half": z0.astype(jnp.float32).astype(jnp.float64)}
        p = {"w": w, "x": x, "steps": jnp.int32(3)}
        return fixed_point(f, start, p, tol=1e-15, max_iter=200)

    for g, want in zip(jax.vjp(solve, w, x)[1]({"z": dy, "half": 0 * dy}), (dw, dx), strict=True):
        close(g, want, 1e-12)
    _, new = saved_bytes(lambda w, x: fixed_point(jax_step(jax), z0, w, x), (w, x))
    assert new == 0


def test_jax_says_what_is_wrong(jax):
    from bpx_jax import fixed_point

    w, x, _, z0, _ = jax_problem(jax)
    f, jnp = jax_step(jax), jax.numpy
    assert np.isnan(fixed_point(f, z0, w, x, max_iter=7)).all()
    dx = jax.grad(lambda x: fixed_point(lambda z, a: z + 0 * a, z0, x).sum())(x)
    assert np.isnan(dx).all()
    with pytest.raises(SpecError, match="f gives"):
        fixed_point(lambda z: z.sum(1), z0)
    with pytest.raises(SpecError, match="z0 has dtype int32"):
        fixed_point(f, jnp.zeros(3, jnp.int32), w, x)
    with pytest.raises(SpecError, match="max_iter is 2"):
        fixed_point(f, z0, w, x, max_iter=2.5)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_layer_is_the_fixed_point_of_its_own_step(framework):
    """deep_equilibrium, verified by the kit, against `fixed_point`, which takes any function."""
    module = pytest.importorskip(framework)
    bpx = pytest.importorskip(f"bpx_{framework}")
    w, x, dy, *_ = numbers()
    u = np.random.default_rng(8).standard_normal((H, H))
    if framework == "torch":
        arrays = [module.tensor(a, requires_grad=True) for a in (x, w, u)]
        z0, dy = module.zeros(N, H, dtype=module.float64), module.tensor(dy)
        pull = lambda y: module.autograd.grad(y, arrays, dy)  # noqa: E731
        f = lambda z, x, w, u: module.tanh(z @ w.T + x @ u.T)  # noqa: E731
        got = pull(bpx.fixed_point(f, z0, *arrays, tol=1e-15))
        want = pull(bpx.layers.deep_equilibrium.deep_equilibrium(*arrays))
    else:
        jnp = module.numpy
        arrays, dy = [jnp.asarray(a) for a in (x, w, u)], jnp.asarray(dy)
        f = lambda z, x, w, u: jnp.tanh(z @ w.T + x @ u.T)  # noqa: E731
        solve = lambda *a: bpx.fixed_point(f, jnp.zeros((N, H)), *a, tol=1e-15)  # noqa: E731
        got = module.vjp(solve, *arrays)[1](dy)
        want = module.vjp(bpx.layers.deep_equilibrium.deep_equilibrium, *arrays)[1](dy)
    for g, h in zip(got, want, strict=True):
        close(g if framework == "jax" else g.detach(), h, 1e-12)
