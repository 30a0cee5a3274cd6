"""The fused linear layer and cross-entropy where the kit's sizes do not reach: chunks, memory,
gradients asked for twice, rows and labels that do not count."""

import numpy as np
import pytest

from bpx import native
from bpx.rule import use
from tests.linear_cross_entropy_runs import EVERY, FRAMEWORKS, assert_equal, draws, given, run

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


@pytest.mark.parametrize(("kernel", "largest"), [("plain", "512x1000"), ("cpu", "25x20000")])
def test_jax_never_holds_the_logits(kernel, largest):
    if kernel == "cpu" and (reason := native.available()):
        pytest.skip(reason)
    jax = pytest.importorskip("jax")
    from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy

    x, weight, target, bias, cw = given("jax", draws(ROWS, 8, CLASSES), "float32").values()

    def loss(x, weight, bias, cw):
        return linear_cross_entropy(x, weight, target, bias, cw, chunk=1000, **EVERY)

    with use(kernel):
        lowered = jax.jit(jax.grad(loss, (0, 1, 2, 3))).lower(x, weight, bias, cw)
    text = lowered.as_text()
    assert f"{largest}xf32" in text
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


def test_chunks_under_vmap_and_jit():
    """Several rows of x at once, each with the same weight, in jitted and in mapped calls."""
    jax = pytest.importorskip("jax")
    from bpx_jax.fused.linear_cross_entropy import linear_cross_entropy

    with jax.enable_x64(True):
        x, weight, target, bias, cw = given("jax", draws(6, 4, 7), "float64").values()

        def gradients(x, target):
            def loss(x, weight):
                return linear_cross_entropy(x, weight, target, bias, cw, chunk=3, **EVERY)

            return jax.value_and_grad(loss, (0, 1))(x, weight)

        xs, targets = x.reshape(2, 3, 4), target.reshape(2, 3)
        mapped = jax.jit(jax.vmap(gradients))(xs, targets)
        for i in range(2):
            for a, b in zip(
                jax.tree.leaves(mapped), jax.tree.leaves(gradients(xs[i], targets[i])), strict=True
            ):
                np.testing.assert_allclose(a[i], b, rtol=1e-13, atol=1e-15)


def test_chunks_under_vmap_in_torch():
    torch = pytest.importorskip("torch")
    from bpx_torch.fused.linear_cross_entropy import linear_cross_entropy

    x, weight, target, bias, cw = given("torch", draws(6, 4, 7), "float64").values()

    def gradients(x, target):
        def loss(x, weight):
            return linear_cross_entropy(x, weight, target, bias, cw, chunk=3, **EVERY)

        return torch.func.grad(loss, (0, 1))(x, weight)

    xs, targets = x.detach().reshape(2, 3, 4), target.reshape(2, 3)
    mapped = torch.func.vmap(gradients)(xs, targets)
    for i in range(2):
        for a, b in zip(mapped, gradients(xs[i], targets[i]), strict=True):
            np.testing.assert_allclose(a[i].detach(), b.detach(), rtol=1e-13, atol=1e-15)
