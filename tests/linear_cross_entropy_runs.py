"""The fused linear layer and cross-entropy run in one framework, through bpx or through the
framework's own operations."""

import importlib

import numpy as np
import pytest

FRAMEWORKS = ("torch", "jax")
EVERY = {"label_smoothing": 0.1, "softcap": 3.0, "z_loss": 1e-2}
OPTIONS = (
    {},
    {"ignore_index": None},
    {"reduction": "sum", "label_smoothing": 0.2, "ignore_index": None},
    {"reduction": "none", "label_smoothing": 0.1},
    {"ignore_index": 3, "chunk": 5},
    {"softcap": 2.0, "chunk": 1},
    {"z_loss": 0.3},
    {"num_items": 4, "label_smoothing": 0.1},
    {"reduction": "none", "label_smoothing": 0.2, "softcap": 1.5, "z_loss": 0.2},
    {"label_smoothing": 0.2, "softcap": 1.5, "z_loss": 0.2, "chunk": 3, "ignore_index": 2},
    {"label_smoothing": 0.2, "softcap": 1.5, "z_loss": 0.2, "num_items": 3},
)


def draws(n, d, v, seed=0, bias=True, weights=True):
    g = np.random.default_rng(seed)
    return {
        "x": g.standard_normal((n, d)),
        "weight": g.standard_normal((v, d)),
        "target": g.integers(0, v, n),
        "bias": g.standard_normal(v) if bias else None,
        "class_weight": g.uniform(0.5, 1.5, v) if weights else None,
    }


def given(framework, arrays, dtype):
    """The arrays of one framework, and those that have a gradient by name."""
    if framework == "torch":
        torch = pytest.importorskip("torch")

        def put(a):
            t = torch.tensor(a)
            return t.to(getattr(torch, dtype)).requires_grad_() if a.dtype.kind == "f" else t
    else:
        jnp = pytest.importorskip("jax").numpy

        def put(a):
            return jnp.asarray(a, dtype if a.dtype.kind == "f" else a.dtype)

    return {k: None if a is None else put(a) for k, a in arrays.items()}


def run(framework, arrays, dtype="float64", own=False, **options):
    """y and the gradients by name, as float64; of the framework's own operations with `own`."""
    found = given(framework, arrays, dtype)
    of = importlib.import_module(f"bpx_{framework}._oracles_fused" if own else f"bpx_{framework}")
    f = of.ORACLES["linear_cross_entropy"] if own else of.RULES["linear_cross_entropy"]
    names = [k for k, a in arrays.items() if a is not None and a.dtype.kind == "f"]
    if framework == "torch":
        import torch

        y = f(*found.values(), **options)
        wrt = [found[k] for k in names]
        grads = torch.autograd.grad(y.sum(), wrt, allow_unused=True)
        values = [None if v is None else v.detach().double().numpy() for v in (y, *grads)]
    else:
        import jax

        def of_floats(floats, target):  # under jit nobody sees the labels
            new = {**dict(zip(names, floats, strict=True)), "target": target}
            y = f(*{**found, **new}.values(), **options)
            return y.sum(), y

        program = jax.jit(jax.grad(of_floats, has_aux=True))
        grads, y = program([found[k] for k in names], found["target"])
        values = [np.asarray(v.astype("float64")) for v in (y, *grads)]
    return dict(zip(("y", *names), values, strict=True))


def assert_equal(found, want, rtol=1e-12):
    for name, w in want.items():
        if w is not None:  # torch has no gradient for class weights
            limit = rtol * np.abs(w).max(initial=1.0)  # the terms are of size 1
            np.testing.assert_allclose(found[name], w, rtol=0, atol=limit, err_msg=name)
