"""Functions that the tests of the solvers minimise, with derivatives by hand in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx import solvers

PENALTY = 1e-2
EXACT = {"tolerance_grad": 0.0, "tolerance_change": 0.0}
ROSENBROCK_START = np.array([-1.2, 1.0])


def rosenbrock(x: Any) -> tuple[float, Any]:
    """Of any length: sum of (1 - x_i)^2 + 100 (x_i+1 - x_i^2)^2, and its gradient."""
    a, b = x[:-1], x[1:]
    g = np.zeros_like(x)
    g[:-1] += -2 * (1 - a) - 400 * a * (b - a**2)
    g[1:] += 200 * (b - a**2)
    return float(((1 - a) ** 2 + 100 * (b - a**2) ** 2).sum()), g


def rosenbrock_hessian(x: Any) -> Any:
    h = np.zeros((len(x), len(x)))
    for i in range(len(x) - 1):
        h[i : i + 2, i : i + 2] += [
            [2 - 400 * (x[i + 1] - 3 * x[i] ** 2), -400 * x[i]],
            [-400 * x[i], 200],
        ]
    return h


def rosenbrock_residual(x: Any) -> tuple[Any, Any]:
    """Twice the half sum of squares is Rosenbrock's function of two."""
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]), np.array([[-20 * x[0], 10], [-1.0, 0.0]])


def decay_data() -> tuple[Any, Any]:
    """Times and noisy values of a decaying oscillation: a fit that leaves residuals."""
    t = np.linspace(0.1, 3.0, 23)
    noise = np.random.default_rng(4).normal(size=t.size)
    return t, 2.3 * np.exp(-0.8 * t) * np.cos(1.7 * t) + 0.05 * noise


DECAY_START = np.array([1.5, 0.5, 1.5])


def decay_residual(x: Any) -> tuple[Any, Any]:
    t, y = decay_data()
    a, k, w = x
    e, c, s = np.exp(-k * t), np.cos(w * t), np.sin(w * t)
    return a * e * c - y, np.stack([e * c, -a * t * e * c, -a * t * e * s], axis=1)


def decay(x: Any) -> tuple[float, Any]:
    r, j = decay_residual(x)
    return r @ r / 2, j.T @ r


def digits(every: int = 1) -> tuple[Any, Any]:
    """Every so many of scikit-learn's images as 64 numbers in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images[::every] / 16, labels[::every].astype(np.int32)


def logistic(images: Any, labels: Any) -> Any:
    """value_and_grad of a flat vector (10 rows of 64 weights, then 10 biases): the mean
    cross-entropy plus PENALTY / 2 times the squares of all of them."""
    n, target = len(labels), np.eye(10)[labels]

    def value_and_grad(x: Any) -> tuple[float, Any]:
        w, b = x[:640].reshape(10, 64), x[640:]
        z = images @ w.T + b
        top = z.max(axis=1, keepdims=True)
        e = np.exp(z - top)
        total = e.sum(axis=1, keepdims=True)
        value = (np.log(total) + top).mean() - (z * target).sum() / n + PENALTY / 2 * (x @ x)
        d = (e / total - target) / n
        return float(value), np.concatenate([(d.T @ images).ravel(), d.sum(0)]) + PENALTY * x

    return value_and_grad


def recorded(f: Any, points: list[Any]) -> Any:
    """f, noting where it is called."""

    def g(x: Any) -> Any:
        points.append(np.array(x))
        return f(x)

    return g


def by_spec(name: str, start: Any, **options: Any) -> tuple[Any, list[Any]]:
    """The result of bpx.solvers on `decay`, and the points it evaluated."""
    points: list[Any] = []
    if name in ("gauss_newton", "levenberg_marquardt"):
        f = recorded(decay_residual, points)
        return solvers.SOLVERS[name](f, start, **options), points
    f = recorded(decay, points)
    if name != "newton":
        return solvers.SOLVERS[name](f, start, **options), points

    def hessian(x: Any) -> Any:
        h = 1e-20
        columns = [decay(x + 1j * h * e)[1].imag / h for e in np.eye(3)]
        return np.stack(columns)

    return solvers.newton(f, hessian, start, **options), points
