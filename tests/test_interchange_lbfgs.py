"""L-BFGS without a line search: its pairs of differences as torch's list and optax's ring."""

import dataclasses

import numpy as np
import pytest

from bpx import convert
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_torch import optim
from tests.interchange_groups import X, Y, jax_step, network

KINDS = {"torch": torch.optim.LBFGS, "bpx": optim.LBFGS}


def steps(model, optimizer, count):
    """Losses; an optimizer that maximizes is given minus the loss."""
    found, sign = [], -1 if optimizer.param_groups[0].get("maximize") else 1

    def closure():
        optimizer.zero_grad()
        loss = sign * (model(torch.tensor(X)) - torch.tensor(Y)).square().mean()
        loss.backward()
        return loss

    for _ in range(count):
        found.append(sign * float(optimizer.step(closure).detach()))
    return found


def made(kind, count, size=4, **options):
    """One inner iteration a step, as optax has them."""
    model = network()
    given = {"lr": 0.3, "history_size": size, "max_iter": 1, "tolerance_grad": 0.0}
    optimizer = KINDS[kind](model.parameters(), **given, tolerance_change=0.0, **options)
    return model, optimizer, steps(model, optimizer, count)


def in_jax(run, count):
    structure = run.weights.structure
    params, _ = ji.to_plain(run.weights)
    tx = ji.transformation(run.optimizer, structure)
    state = ji.to_optax(run.optimizer, tx.init(params), structure)

    def of_minus_the_loss(grads, state, params):
        return tx.update(jax.tree.map(jnp.negative, grads), state, params)

    given = tx
    if run.optimizer.options().get("maximize"):
        given = optax.GradientTransformation(tx.init, of_minus_the_loss)
    step, found = jax_step(given), []
    for _ in range(count):
        value, params, state = step(params, state)
        found.append(float(value))
    back = ji.from_optax(state, run.optimizer, structure)
    return found, ji.from_plain(params, {}, structure), back


@pytest.mark.parametrize(
    ("kind", "options"), [("torch", {}), ("bpx", {}), ("bpx", {"maximize": True})]
)
@pytest.mark.parametrize("there", [2, 11])
def test_run_goes_on_and_comes_back(kind, options, there, tmp_path):
    """With a history that is not full yet, and one that has gone round."""
    _, _, want = made(kind, there + 20)
    model, optimizer, got = made(kind, there, **options)
    file = tmp_path / "run"
    held = ti.optimizer_state(optimizer, model)
    convert.save(file, convert.Run(ti.weights(model), held, there), "plain")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        more, weights, back = in_jax(convert.load(file), 9)
    model, optimizer, _ = made(kind, 0, **options)
    ti.load_weights(model, weights)
    ti.load_optimizer_state(optimizer, model, back)
    got += more + steps(model, optimizer, 11)
    assert want[there] - want[there + 9] > 1e-3
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


def test_state_there_and_back_is_the_state():
    model, optimizer, _ = made("torch", 7)
    held, weights = ti.optimizer_state(optimizer, model), ti.weights(model)
    params, _ = ji.to_plain(weights)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = ji.to_optax(held, ji.transformation(held).init(params), weights.structure)
    back = ji.from_optax(state, held, weights.structure)
    twin, other, _ = made("torch", 0)
    ti.load_weights(twin, weights)
    ti.load_optimizer_state(other, twin, back)
    a, b = (o.state_dict()["state"][0] for o in (optimizer, other))
    for key in ("t", "n_iter", "H_diag", "ro", "old_dirs", "old_stps", "prev_flat_grad", "d"):
        x, y = (
            torch.stack(v) if isinstance(v, list) else torch.as_tensor(v) for v in (a[key], b[key])
        )
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)


def test_what_does_not_pass():
    model, optimizer, _ = made("torch", 3)
    held, structure = ti.optimizer_state(optimizer, model), ti.structure(model)
    params, _ = ji.to_plain(ti.weights(model))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        other = optax.lbfgs(0.3, memory_size=5, linesearch=None).init(params)
        with pytest.raises(SpecError, match=r"old_\w+: .* float64 \(4, .* float64 \(5, "):
            ji.to_optax(held, other, structure)
        wide = held.moved(held.slots, held.steps)
        group = dataclasses.replace(
            held.groups[0], options={**held.groups[0].options, "history_size": 5}
        )
        state = ji.to_optax(held, ji.transformation(held).init(params), structure)
        with pytest.raises(SpecError, match="has 4 places, expected history_size=5"):
            ji.from_optax(state, dataclasses.replace(wide, groups=(group,)), structure)
    lost = {k: s for k, s in held.slots.items() if k != "old_dirs.1"}
    with pytest.raises(SpecError, match=r"LBFGS: the pairs are \['old_stps.0', .* expected at"):
        ti.load_optimizer_state(optimizer, model, held.moved(lost, held.steps))
    fresh, begun, _ = made("torch", 0)
    with pytest.raises(SpecError, match="lbfgs: the run is before its first step"):
        ji.transformation(ti.optimizer_state(begun, fresh))
    fresh, searched, _ = made("torch", 2, line_search_fn="strong_wolfe")
    with pytest.raises(SpecError, match="line_search_fn is 'strong_wolfe', expected None"):
        ji.transformation(ti.optimizer_state(searched, fresh))
    half = torch.nn.Linear(2, 2).bfloat16()
    of_half = torch.optim.LBFGS(half.parameters(), max_iter=1)
    of_half.step(lambda: half(torch.ones(1, 2).bfloat16()).sum())
    of_half.state[half.weight]["d"] = torch.zeros(6)
    with pytest.raises(SpecError, match=r"parameters are \['torch.bfloat16'\], expected all fl"):
        ti.optimizer_state(of_half, half)
    still = dataclasses.replace(held.groups[0], options={**held.groups[0].options, "lr": 0.0})
    with pytest.raises(SpecError, match="LBFGS: lr is 0, expected another"):
        ti.load_optimizer_state(optimizer, model, dataclasses.replace(held, groups=(still,)))
    assert optimizer.param_groups[0]["lr"] == 0.3
