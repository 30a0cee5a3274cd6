"""The native kernels of sequences where the kit's sizes do not reach: several chunks, sizes that no
vector divides, threads. The reference is the specification, tolerances count roundings."""

import importlib
import importlib.util

import numpy as np
import pytest

import bpx
from bpx import native, rule
from bpx.layers import attention, gru, linear_recurrence, lstm, rnn
from bpx.losses import ctc
from bpx.verify.bound import UNIT

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))
FRAMEWORKS = [f for f in ("torch", "jax") if importlib.util.find_spec(f)]


def run(framework, op, arrays, dy, dtype="float64", **options):
    """y and the gradients of the float arguments by the kernel `cpu`, as float64."""
    if framework not in FRAMEWORKS:
        pytest.skip(f"{framework} is not installed")
    path = next(spec.path for spec in bpx.ALL if spec.name == op).replace("/", ".")
    call = getattr(importlib.import_module(f"bpx_{framework}.{path}"), op)
    floats = [k for k, v in arrays.items() if v is not None and v.dtype.kind == "f"]
    with rule.use("cpu"):
        if framework == "torch":
            import torch

            given = {k: None if v is None else torch.tensor(v) for k, v in arrays.items()}
            for k in floats:
                given[k] = given[k].to(getattr(torch, dtype)).requires_grad_()
            y = call(**given, **options)
            dy = torch.tensor(dy, dtype=y.dtype)
            grads = torch.autograd.grad(y, [given[k] for k in floats], dy)
            return [v.detach().double().numpy() for v in (y, *grads)]
        import jax

        given = {k: None if v is None else jax.numpy.asarray(v) for k, v in arrays.items()}
        leaves = {k: given.pop(k).astype(dtype) for k in floats}
        f = jax.jit(lambda leaves: call(**leaves, **given, **options))
        y, pull = jax.vjp(f, leaves)
        grads = pull(jax.numpy.asarray(dy, y.dtype))[0]
        return [np.asarray(v.astype("float64")) for v in (y, *(grads[k] for k in floats))]


def recurrence(n, t, d, start=True, seed=0):
    g = np.random.default_rng(seed)
    arrays = {"a": g.standard_normal((n, t, d)), "b": g.standard_normal((n, t, d))}
    arrays["h0"] = g.standard_normal((n, d)) if start else None
    return arrays, g.standard_normal((n, t, d))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("sizes", "reverse", "start"),
    [((3, 67, 131), False, True), ((2, 200, 65), True, False), ((3, 1, 65), True, True)],
)
def test_linear_recurrence(framework, sizes, reverse, start):
    """Columns in blocks of 64 with a rest, several chunks; 2 roundings a step, of the terms' own
    sizes (the reference at absolute values)."""
    arrays, dy = recurrence(*sizes, start)
    arrays["a"] *= 0.7
    found = run(framework, "linear_recurrence", arrays, dy, reverse=reverse)
    spec, o = linear_recurrence.SPEC, {"reverse": reverse}
    size = {k: None if v is None else np.abs(v) for k, v in arrays.items()}
    want = [spec.forward(**arrays, **o)[0], *spec.backward(dy, **arrays, **o)]
    sizes = [spec.forward(**size, **o)[0], *spec.backward(np.abs(dy), **size, **o)]
    want, sizes = ([v for v in vs if v is not None] for vs in (want, sizes))
    assert len(found) == len(want)
    for f, w, s in zip(found, want, sizes, strict=True):
        assert (np.abs(f - w) <= 2 * (dy.shape[1] + 2) * UNIT["float64"] * s).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_recurrence_keeps_a_bfloat16_state_in_float32(framework):
    """A state held in bfloat16 would stop growing at 256 steps of 1."""
    arrays = {"a": np.ones((1, 1000, 2)), "b": np.ones((1, 1000, 2)), "h0": None}
    y, _, db = run(framework, "linear_recurrence", arrays, arrays["b"], "bfloat16")
    count = np.arange(1, 1001)[:, None]
    assert (np.abs(y[0] - count) <= UNIT["bfloat16"] * count).all()
    assert (np.abs(db[0] - count[::-1]) <= UNIT["bfloat16"] * count[::-1]).all()


def test_mixed_dtypes_are_refused():
    torch = pytest.importorskip("torch")
    from bpx_torch.kernels.cpu.linear_recurrence import refuses

    a = torch.ones(1, 2, 3)
    assert "beside" in refuses((a, a.bfloat16(), None), {})
    assert refuses((a, a, None), {}) is None


def alignments(frames, items, classes, most, seed=0):
    """ctc_loss' arguments: lengths of all kinds, none of which is impossible."""
    g = np.random.default_rng(seed)
    used = g.integers(0, most + 1, items)
    arrays = {
        "log_probs": g.standard_normal((frames, items, classes)) - 3,
        "targets": g.integers(0, classes, (items, most)),
        "input_lengths": np.minimum(2 * used + g.integers(0, 9, items), frames),
        "target_lengths": used,
    }
    return arrays, g.standard_normal(items)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_ctc_loss(framework, reduction):
    """Several items a chunk. Every log-sum-exp rounds its 5 operations beside log-probabilities of
    up to `size`; a posterior is e to the sum of three of them."""
    arrays, dy = alignments(70, 19, 7, 30)
    dy = dy if reduction == "none" else np.asarray(1.7)
    found = run(framework, "ctc_loss", arrays, dy, reduction=reduction, blank=3)
    o = ctc.SPEC.complete({"reduction": reduction, "blank": 3})
    want = [ctc.SPEC.forward(**arrays, **o)[0], ctc.SPEC.backward(dy, **arrays, **o)[0]]
    size = np.abs(arrays["log_probs"]).max(-1).sum()
    assert np.abs(found[0] - want[0]).max() <= 70 * 5 * UNIT["float64"] * size
    most = np.abs(dy).max() * 3 * 70 * 5 * UNIT["float64"] * size
    assert np.abs(found[1] - want[1]).max() <= most
    assert most < 1e-8


def layer(name, steps=6, batch=19, inputs=7, units=37, lengths=True, seed=0):
    """A recurrent layer's arguments: weights under which no state or gradient grows over steps."""
    g = np.random.default_rng(seed)
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[name]
    arrays = {
        "x": g.standard_normal((steps, batch, inputs)),
        "h0": g.standard_normal((batch, units)),
    }
    if name == "lstm":
        arrays["c0"] = g.standard_normal((batch, units))
    arrays["w_ih"] = g.uniform(-1, 1, (gates * units, inputs)) / inputs
    arrays["w_hh"] = g.uniform(-1, 1, (gates * units, units)) / units
    arrays["b_ih"], arrays["b_hh"] = g.standard_normal((2, gates * units))
    arrays["lengths"] = g.integers(0, steps + 1, batch) if lengths else None
    return arrays, g.standard_normal(((2,) if name == "lstm" else ()) + (steps, batch, units))


LAYERS = {"rnn": rnn, "gru": gru, "lstm": lstm}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("name", "sizes", "options"),
    [
        ("rnn", {}, {"nonlinearity": "relu"}),
        ("rnn", {"batch": 8, "units": 32, "lengths": False}, {"nonlinearity": "tanh"}),
        ("gru", {}, {}),
        ("gru", {"batch": 5, "units": 16, "lengths": False}, {}),
        ("lstm", {}, {}),
        ("lstm", {"batch": 1, "units": 33, "lengths": False}, {}),
        ("lstm", {"steps": 1}, {}),
    ],
)
def test_recurrent_layers(framework, name, sizes, options):
    """Blocks of 8 sequences and panels of 16 units, with and without a rest. Sums of up to `terms`
    terms, 20 roundings of a unit's gates, over all steps and sequences."""
    arrays, dy = layer(name, **sizes)
    found = run(framework, name, arrays, dy, **options)
    spec = LAYERS[name].SPEC
    want = [spec.forward(**arrays, **options)[0], *spec.backward(dy, **arrays, **options)]
    terms = arrays["w_ih"].shape[1] + arrays["w_hh"].shape[1] + 20
    limit = 4 * dy.shape[-3] * dy.shape[-2] * terms * UNIT["float64"]
    for f, w in zip(found, [w for w in want if w is not None], strict=True):
        assert np.abs(f - w).max() <= limit * np.abs(w).max()
    assert limit < 1e-11


@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_past_the_end_of_a_sequence_has_no_part(name):
    arrays, dy = layer(name)
    want = run(FRAMEWORKS[0], name, arrays, dy)
    past = np.arange(len(arrays["x"]))[:, None] >= arrays["lengths"]
    arrays["x"][past] = np.nan
    dy[..., past, :] = np.nan
    for f, w in zip(run(FRAMEWORKS[0], name, arrays, dy), want, strict=True):
        assert np.array_equal(f, w)


# Not the recurrent layers: the sums of their gradients are the BLAS's, and its threads are too.
THREADED = {
    "linear_recurrence": (*recurrence(5, 130, 301), {}),
    "ctc_loss": (*alignments(60, 19, 7, 50), {"reduction": "none"}),
}


@pytest.mark.parametrize("op", THREADED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_no_bit(op, dtype):
    torch = pytest.importorskip("torch")
    arrays, dy, options = THREADED[op]
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run("torch", op, arrays, dy, dtype, **options))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def heads(b=2, h=4, k=2, t=150, s=290, d=21, e=37, mask=None, seed=0):
    g = np.random.default_rng(seed)
    arrays = {"query": g.standard_normal((b, h, t, d)), "key": g.standard_normal((b, k, s, d))}
    arrays["value"] = g.standard_normal((b, k, s, e))
    arrays["mask"] = None if mask is None else g.uniform(size=mask) < 0.7
    return arrays, g.standard_normal((b, h, t, e))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({}, {"causal": True}),
        ({"mask": (2, 1, 150, 290)}, {"softcap": 2.0, "scale": 0.4}),
        ({"mask": (1, 4, 1, 130), "t": 300, "s": 130}, {"window": (70, 40)}),
        ({"b": 1, "h": 1, "k": 1, "t": 1, "s": 129, "d": 1, "e": 1}, {"scale": 1.3}),
        ({"mask": (2, 4, 150, 1), "k": 1, "s": 128, "d": 32, "e": 32}, {}),
    ],
)
def test_attention(framework, sizes, options):
    """Blocks of 64 queries and 128 keys with rests, blocks that are hidden, rows that see nothing;
    sums of up to `terms` terms of scores below 40."""
    arrays, dy = heads(**sizes)
    found = run(framework, "attention", arrays, dy, **options)
    o = attention.SPEC.complete(options)
    given = {**arrays, "bias": None, "dropout_key": None}
    want = [attention.SPEC.forward(**given, **o)[0], *attention.SPEC.backward(dy, **given, **o)]
    terms = sum(arrays["key"].shape[2:]) + dy.shape[2] * arrays["query"].shape[1] + 40
    limit = 4 * terms * UNIT["float64"]
    for f, w in zip(found, [w for w in want if w is not None], strict=True):
        assert np.abs(f - w).max() <= limit * max(np.abs(w).max(), 1)
    assert limit < 1e-12


def test_attention_with_a_bias_or_dropout_is_the_plain_rules():
    torch = pytest.importorskip("torch")
    from bpx_torch.kernels.cpu.attention import refuses

    a = torch.ones(1, 1, 2, 3)
    assert "plain" in refuses((a, a, a, a[..., :2], None, None), {})
    assert "plain" in refuses((a, a, a, None, None, torch.ones(2, dtype=torch.int64)), {})
    assert "beside" in refuses((a, a.bfloat16(), a, None, None, None), {})
    assert refuses((a, a, a, None, None, None), {}) is None
