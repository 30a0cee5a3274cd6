"""The fused linear layer and cross-entropy where the kit's sizes do not reach: chunks, memory,
gradients asked for twice, precision, rows and labels that do not count."""

import importlib

import numpy as np
import pytest

from bpx.verify.bound import UNIT

FRAMEWORKS = ("torch", "jax")
EVERY = {"label_smoothing": 0.1, "softcap": 3.0, "z_loss": 1e-2}


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


SIZES = [(1, 3), (7, 1), (7, 3), (7, 6), (7, 7), (7, 8), (12, 4), (12, 5), (12, 11), (13, 12)]


@pytest.mark.parametrize(("classes", "chunk"), SIZES)
def test_any_vocabulary_and_chunk_in_torch(classes, chunk):
    arrays = draws(5, 4, classes, seed=classes)
    found = run("torch", arrays, chunk=chunk, **EVERY)
    assert_equal(found, run("torch", arrays, own=True, **EVERY))


@pytest.mark.parametrize(("classes", "chunk"), [(1, 3), (12, 4), (13, 12)])
def test_any_vocabulary_and_chunk_in_jax(classes, chunk):
    arrays = draws(5, 4, classes, seed=classes)
    assert_equal(run("jax", arrays, chunk=chunk, **EVERY), run("jax", arrays, own=True, **EVERY))


def test_both_frameworks_agree():
    arrays = draws(40, 16, 101)
    found = [run(f, arrays, chunk=17, **EVERY) for f in FRAMEWORKS]
    assert_equal(*found)


ROWS, CLASSES = 512, 20_000


def test_torch_never_holds_the_logits():
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in torch.utils._pytree.tree_leaves(out):
                if isinstance(t, torch.Tensor):
                    self.size = max(self.size, t.untyped_storage().nbytes() // t.element_size())
            return out

    arrays = given("torch", draws(ROWS, 8, CLASSES), "float32")
    from bpx_torch.fused.linear_cross_entropy import linear_cross_entropy

    with Largest() as largest:
        linear_cross_entropy(*arrays.values(), chunk=1000, **EVERY).backward()
    assert ROWS * 1000 <= largest.size < 1.1 * ROWS * 1000


def test_jax_never_holds_the_logits():
    jax = pytest.importorskip("jax")
    from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy

    x, weight, target, bias, cw = given("jax", draws(ROWS, 8, CLASSES), "float32").values()

    def loss(x, weight, bias, cw):
        return linear_cross_entropy(x, weight, target, bias, cw, chunk=1000, **EVERY)

    lowered = jax.jit(jax.grad(loss, (0, 1, 2, 3))).lower(x, weight, bias, cw)
    text = lowered.as_text()
    assert "512x1000xf32" in text
    assert "512x20000x" not in text
    assert "20000x512x" not in text
    logits = 4 * ROWS * CLASSES
    assert lowered.compile().memory_analysis().temp_size_in_bytes < logits / 2


def test_backward_twice_gives_the_same_gradient():
    torch = pytest.importorskip("torch")
    from bpx_torch.fused.linear_cross_entropy import linear_cross_entropy

    arrays = given("torch", draws(6, 4, 11), "float32")
    leaves = [a for a in arrays.values() if a.requires_grad]
    for options in (EVERY, {}):
        y = linear_cross_entropy(*arrays.values(), chunk=4, **options)
        once, twice = (torch.autograd.grad(y, leaves, retain_graph=True) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
        thrice = torch.autograd.grad(3 * y, leaves)
        for a, b in zip(once, thrice, strict=True):
            torch.testing.assert_close(3 * a, b)


def test_items_of_a_whole_batch():
    """Halves with the count of the whole add up to the whole; class weights do not enter it."""
    arrays = draws(8, 4, 11)
    arrays["target"][2] = -100
    options = {**EVERY, "chunk": 4}
    total = run("torch", arrays, reduction="sum", **options)
    halves = [
        run(
            "torch",
            {k: a[i : i + 4] if k in ("x", "target") else a for k, a in arrays.items()},
            num_items=7,
            **options,
        )
        for i in (0, 4)
    ]
    both = {k: halves[0][k] + halves[1][k] for k in ("y", "weight", "bias", "class_weight")}
    assert_equal(both, {k: total[k] / 7 for k in both})
    assert_equal({"x": np.concatenate([h["x"] for h in halves])}, {"x": total["x"] / 7})


def test_z_loss_is_reduced_with_the_rows():
    arrays = draws(6, 4, 11)
    arrays["target"][[1, 4]] = -100
    keep, z_loss = arrays["target"] != -100, 0.7
    z = arrays["x"] @ arrays["weight"].T + arrays["bias"]
    lse = np.log(np.exp(z).sum(-1))
    wy = arrays["class_weight"][np.where(keep, arrays["target"], 0)] * keep
    terms = {"none": wy * lse**2, "sum": (wy * lse**2).sum()}
    terms["mean"] = terms["sum"] / wy.sum()
    for reduction, term in terms.items():
        without, found = (
            run("torch", arrays, reduction=reduction, z_loss=v)["y"] for v in (0.0, z_loss)
        )
        np.testing.assert_allclose(found - without, z_loss * term, rtol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_ignored_row_may_hold_anything(framework):
    arrays = draws(5, 4, 7)
    arrays["target"][[0, 3]] = -100
    clean = run(framework, arrays, chunk=3, **EVERY)
    arrays["x"][0], arrays["x"][3] = np.nan, np.inf
    found = run(framework, arrays, chunk=3, **EVERY)
    assert all(np.array_equal(found[k], clean[k]) for k in clean)
    assert not found["x"][[0, 3]].any()


def test_a_label_out_of_range_is_nan_where_it_cannot_be_seen():
    arrays = draws(4, 3, 7)
    arrays["target"][1] = 7
    found = run("jax", arrays, reduction="none", chunk=3)
    assert np.isnan(found["y"]).tolist() == [False, True, False, False]
    assert np.isnan(found["x"]).all(-1).tolist() == [False, True, False, False]
    assert np.isnan(found["weight"]).all()  # every class has a part in the row's lse


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_half_precision_logits_are_not_rounded(framework):
    """Around 200 bfloat16 has steps of 1: a loss from rounded logits is off by as much."""
    torch = pytest.importorskip("torch")
    arrays = draws(16, 32, 50, weights=False)
    arrays["bias"] = arrays["bias"] + 200.0
    floats = ("x", "weight", "bias")
    halves = {k: torch.tensor(arrays[k]).bfloat16().double().numpy() for k in floats}
    halves = {**arrays, **halves}
    want = run(framework, halves, own=True, reduction="none")
    found = run(framework, halves, "bfloat16", reduction="none", chunk=7)
    off = np.abs(found["y"] - want["y"])
    assert (off <= UNIT["bfloat16"] * want["y"] + 16 * UNIT["float32"] * 200).all()
    for k in floats:  # p, the gradient and its product: three roundings
        assert np.abs(found[k] - want[k]).max() <= 4 * UNIT["bfloat16"] * np.abs(want[k]).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_large_logits(framework, dtype):
    """A row of dlogits is wy (p - onehot), which sums to nothing; exp(z - lse) would leave the
    rounding of lse, 300 eps, in it."""
    arrays = draws(9, 4, 13)
    arrays["bias"] += 300
    found = run(framework, arrays, dtype, chunk=4)
    # a mean of 9 rows: sums of 13 numbers up to 1, each rounded in exp, the sum and the product
    assert abs(found["bias"].sum()) <= 16 * UNIT[dtype]
    want = run(framework, arrays, "float64", own=True)
    for k in ("x", "weight", "bias"):  # the logits themselves round by 300 eps, apart
        assert np.abs(found[k] - want[k]).max() <= 2 * 300 * UNIT[dtype] * np.abs(want[k]).max()


def test_jax_sums_products_in_float32():
    """XLA for the CPU would hide a product that is rounded to bfloat16; other devices would not."""
    jax = pytest.importorskip("jax")
    from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy

    x, weight, target, *_ = given("jax", draws(5, 4, 11), "bfloat16").values()
    f = jax.grad(lambda x, weight: linear_cross_entropy(x, weight, target, chunk=4), (0, 1))
    text = jax.jit(f).lower(x, weight).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 4
    assert not [line for line in products if not line.rstrip().endswith("f32>") or "xf32>," in line]
