"""muP: the table, torch modules, pytrees; equal trainings of both tables; widths side by side."""

import math

import numpy as np
import pytest

from bpx.initializers import mup_scale
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")

import bpx_jax
import bpx_torch

S = 1.3
# kind, shape, base, layout -> table 8 and table 3 of the paper: std, multiplier, Adam, SGD
ROWS = [
    ("input", (96, 5), (24, 5), "OI", (S / 5**0.5, 1, 1, 4), (S / 5**0.5, 1, 1, 4)),
    ("hidden", (96, 60), (24, 20), "OI", (S / 60**0.5, 1, 1 / 3, 1), (S / 60**0.5, 1, 1 / 3, 1)),
    ("output", (60, 7), (20, 7), "IO", (S / 20**0.5, 1 / 3, 1, 3), (S / 180**0.5, 1, 1 / 3, 1 / 3)),
    ("fixed", (5, 7), (5, 7), "OI", (S / 7**0.5, 1, 1, 1), (S / 7**0.5, 1, 1, 1)),
    ("vector", (96,), (24,), None, (None, 1, 1, 4), (None, 1, 1, 4)),
    ("vector", (), (), None, (None, 1, 1, 1), (None, 1, 1, 1)),
    ("hidden", (3, 5, 40, 60), (3, 5, 20, 20), "HWIO", (S / 600**0.5, 1, 0.5, 1), None),
    ("output", (9, 60, 7), (9, 20, 7), "NIO", (S / 20**0.5, 1 / 3, 1, 3), None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "base", "layout", "eight", "three"), ROWS)
def test_tables(kind, shape, base, layout, eight, three):
    for table, want in ((8, eight), (3, three)):
        if want is not None:
            row = mup_scale(shape, base, layout, std=S, table=table)
            assert row.kind == kind
            assert (row.std is None) == (want[0] is None)
            found = (row.std or 0, row.multiplier, row.adam, row.sgd)
            assert found == pytest.approx((want[0] or 0, *want[1:]), rel=1e-15)
    same = mup_scale(shape, shape, layout, std=S)
    assert (same.multiplier, same.adam, same.sgd) == (1, 1, 1)


def net(width, depth=1):
    middle = [p for _ in range(depth) for p in (torch.nn.Linear(width, width), torch.nn.Tanh())]
    ends = torch.nn.Linear(6, width), torch.nn.Tanh(), *middle, torch.nn.Linear(width, 3)
    return torch.nn.Sequential(*ends).double()


def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(32, 6, generator=g, dtype=torch.float64)
    return x, torch.randint(3, (32,), generator=g)


def trained(width, table, optimizer, lr, steps, scheme="mup"):
    """Outputs of every step, from the same draw."""
    model, (x, y) = net(width), data()
    groups = bpx_torch.mup_(model, net(16), lr, optimizer=optimizer, table=table, std=S, key=4)
    if scheme == "standard":
        groups = [{"params": list(model.parameters()), "lr": lr}]
    made = {"adam": lambda p: torch.optim.Adam(p, eps=1e-30), "sgd": torch.optim.SGD}[optimizer]
    stepper, seen = made(groups), []
    for _ in range(steps + 1):
        logits = model(x)
        seen.append(logits.detach().numpy())
        stepper.zero_grad()
        torch.nn.functional.cross_entropy(logits, y).backward()
        stepper.step()
    return np.stack(seen)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_both_tables_are_the_same_training(optimizer):
    three, eight = (trained(48, table, optimizer, 1e-2, 8) for table in (3, 8))
    np.testing.assert_allclose(three, eight, rtol=1e-9, atol=1e-11)
    assert np.abs(three[-1] - three[0]).max() > 1e-2


def test_steps_do_not_grow_with_the_width():
    """The paper's coordinate check: how far a few steps of Adam move the outputs."""
    moved = {
        scheme: [
            np.abs(np.diff(trained(w, 3, "adam", 2e-3, 3, scheme)[[0, -1]], axis=0)).mean()
            for w in (32, 512)
        ]
        for scheme in ("mup", "standard")
    }
    narrow, wide = moved["mup"]
    assert wide < 1.5 * narrow
    narrow, wide = moved["standard"]
    assert wide > 4 * narrow


def test_torch_groups():
    class Net(torch.nn.Module):
        def __init__(self, n):
            super().__init__()
            self.embed = torch.nn.Embedding(11, n)
            self.norm = torch.nn.LayerNorm(n)
            self.conv = torch.nn.Conv1d(n, 2 * n, 3)
            self.up = torch.nn.ConvTranspose1d(2 * n, n, 2)
            self.gru = torch.nn.GRU(n, n)
            self.head = torch.nn.Linear(n, 11)

    layouts = {"gru.weight_ih_l0": "OI", "gru.weight_hh_l0": "OI"}
    model, base = Net(64), Net(16).to("meta")
    with torch.no_grad():
        model.norm.weight.fill_(0.7)
    groups = bpx_torch.mup_(model, base, 0.1, weight_decay=0.2, layouts=layouts, key=1)
    rates = {name: g["lr"] for g in groups for name in g["names"]}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    quarter = {"conv.weight", "up.weight", "head.weight", *layouts}
    assert {n for n, lr in rates.items() if lr == pytest.approx(0.025)} == quarter
    assert {n for n, lr in rates.items() if lr == pytest.approx(0.1)} == set(rates) - quarter
    assert all(g["lr"] * g["weight_decay"] == pytest.approx(0.02) for g in groups)
    assert not model.head.bias.any()
    assert (model.norm.weight == 0.7).all()
    for w, std in (
        (model.embed.weight, 1.0),
        (model.conv.weight, 1 / math.sqrt(64 * 3)),
        (model.up.weight, 1 / math.sqrt(128 * 2)),
        (model.head.weight, math.sqrt(1 / 16) / 4),
    ):
        assert w.std().item() == pytest.approx(std, rel=6 / math.sqrt(2 * w.numel()))
    torch.optim.AdamW(groups).step()  # takes the groups as they are
    model.head.weight = model.embed.weight
    base.head.weight = base.embed.weight
    with pytest.raises(SpecError, match=r"'head\.weight' is tied to 'embed\.weight'"):
        bpx_torch.mup_(model, base, 0.1, layouts=layouts)
    groups = bpx_torch.mup_(model, base, 0.1, layouts=layouts, table=8)
    assert sum(p is model.embed.weight for g in groups for p in g["params"]) == 1
    x = torch.randn(5, 64)
    want = x / 4 @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model.head(x), want)


def test_jax_trees():
    def params(n):
        return {
            "in": {"kernel": jnp.zeros((6, n)), "bias": jnp.full(n, 0.3)},
            "mid": {"kernel": jnp.zeros((3, n, n))},
            "out": {"kernel": jnp.zeros((n, 3)), "bias": jnp.zeros(3)},
        }

    scales = bpx_jax.mup(params(64), params(16), std=S)
    assert scales.kind["in"] == {"kernel": "input", "bias": "vector"}
    assert scales.rate == {
        "in": {"kernel": 1.0, "bias": 1.0},
        "mid": {"kernel": 0.25},
        "out": {"kernel": 0.25, "bias": 1.0},
    }
    eight = bpx_jax.mup(params(64), params(16), std=S, table=8, optimizer="sgd")
    assert eight.multiplier["out"]["kernel"] == 0.25
    assert eight.rate["out"]["kernel"] == 4.0
    started = bpx_jax.mup_init(jax.random.key(0), params(64), scales)
    assert (started["in"]["bias"] == jnp.asarray(0.3)).all()
    for name in ("in", "mid", "out"):
        w = np.asarray(started[name]["kernel"])
        assert w.std() == pytest.approx(scales.std[name]["kernel"], rel=6 / math.sqrt(2 * w.size))
    by_path = bpx_jax.mup(
        params(64), params(16), layout=lambda path: "OI" if "out" in path else None
    )
    assert by_path.kind["out"]["kernel"] == "input"
    optax = pytest.importorskip("optax")
    chained = optax.chain(optax.adam(0.1), bpx_jax.scale_by_mup(scales))
    grads = jax.tree.map(jnp.ones_like, started)
    with jax.numpy_dtype_promotion("standard"):  # optax needs it
        updates, _ = jax.jit(chained.update)(grads, chained.init(started), started)
        plain, _ = optax.adam(0.1).update(grads, optax.adam(0.1).init(started))
    want = jax.tree.map(lambda u, f: u * f, plain, scales.rate)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), updates, want)


LINEAR = torch.nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mup_scale((4, 4), (2, 2)), "mup: layout is None, expected one of 2 axes"),
        (lambda: mup_scale((4, 4), (2, 2), "OIW"), "mup: layout is 'OIW', expected one of 2"),
        (lambda: mup_scale((4, 4), (2,), "OI"), "mup: base is (2,) for the shape (4, 4), expected"),
        (lambda: mup_scale((0, 4), (2, 2), "OI"), "mup: shape is (0, 4), base (2, 2), expected no"),
        (
            lambda: mup_scale((4, 4, 3), (2, 2, 5), "OIW"),
            "mup: base is (2, 2, 5) for the shape (4, 4, 3), expected the same axes but I and O",
        ),
        (lambda: mup_scale((4,), (2,), std=-1), "mup: std is -1, expected a finite number"),
        (lambda: mup_scale((4,), (2,), table=9), "mup: table is 9, expected one of [3, 8]"),
        (lambda: mup_scale((4,), (2,)).rate("lion"), "mup: optimizer is 'lion', expected one of"),
        (lambda: bpx_torch.mup_(LINEAR, {}, 0.1), "mup: base has no 'weight', expected the names"),
        (lambda: bpx_torch.mup_(LINEAR, LINEAR, -1), "mup: lr is -1, expected a finite number"),
        (
            lambda: bpx_torch.mup_(torch.nn.RNN(2, 3), torch.nn.RNN(2, 3), 0.1),
            "mup: 'weight_ih_l0' is of a RNN, expected its layout in layouts",
        ),
        (lambda: bpx_jax.mup({"a": jnp.ones(3)}, {"b": jnp.ones(3)}), "mup: base is PyTreeDef("),
    ],
)
def test_rejects(call, message):
    with pytest.raises(SpecError) as caught:
        call()
    assert str(caught.value).startswith(message)
