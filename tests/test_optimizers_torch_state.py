"""bpx_torch's checkpoints against torch's: both ways, in mid-run, old ones, 16-bit parameters."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx_torch.optimizers import OPTIMIZERS
from tests.torch_optimizers import (
    SPECS,
    advance,
    float64_scalars,
    loud,
    matrices,
    pair,
    same,
)

OPTIONS = {name: loud(SPECS[name]) for name in OPTIMIZERS}
each = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture(autouse=True)
def exact() -> Any:
    with float64_scalars():
        yield


@each
@pytest.mark.parametrize("theirs_first", [False, True])
def test_checkpoint_goes_both_ways_in_mid_run(name: str, theirs_first: bool) -> None:
    makers = pair(name)
    straight = matrices()
    whole = makers[0](straight, **OPTIONS[name])
    advance(whole, 7, 1)
    advance(whole, 4, 2)

    params = matrices()
    first = makers[0 if theirs_first else 1](params, **OPTIONS[name])
    advance(first, 7, 1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    # its own options are replaced by the loaded ones
    second = makers[1 if theirs_first else 0](params)
    second.load_state_dict(torch.load(file, weights_only=True))
    advance(second, 4, 2)
    same(params, straight)

    ours, torchs = second.state_dict(), whole.state_dict()
    assert list(ours) == list(torchs)
    groups = [[{**g, "foreach": None} for g in d["param_groups"]] for d in (ours, torchs)]
    assert groups[0] == groups[1]
    for key, row in torchs["state"].items():
        assert list(ours["state"][key]) == list(row)
        for k, v in row.items():
            torch.testing.assert_close(ours["state"][key][k], v, rtol=1e-12, atol=1e-13)


@each
def test_deepcopy_and_pickled_state_continue_alike(name: str) -> None:
    params = matrices()
    optimizer = OPTIMIZERS[name](params, **OPTIONS[name])
    advance(optimizer, 3, 1)
    twin = copy.deepcopy(optimizer)
    advance(optimizer, 3, 2)
    assert not torch.equal(twin.param_groups[0]["params"][0], params[0])
    advance(twin, 3, 2)
    same(twin.param_groups[0]["params"], params)


@each
def test_old_checkpoint_without_newer_keys(name: str) -> None:
    params = matrices()
    optimizer = OPTIMIZERS[name](params, **OPTIONS[name])
    advance(optimizer, 2, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for key in ("foreach", "maximize", "differentiable", "capturable", "fused"):
            group.pop(key, None)
    for row in saved["state"].values():
        for key in row.keys() & {"step", "mu_product"}:
            row[key] = float(row[key])
    other = [torch.nn.Parameter(p.detach().clone()) for p in params]
    loaded = OPTIMIZERS[name](other)
    loaded.load_state_dict(saved)
    advance(optimizer, 2, 2)
    advance(loaded, 2, 2)
    same(other, params)


def kept(optimizer: Any) -> list[Any]:
    return [v for s in optimizer.state.values() for k, v in s.items() if k != "step"]


@each
def test_float32_moments_of_bfloat16_parameters_survive_loading(name: str) -> None:
    wide = OPTIMIZERS[name](matrices(torch.float32), **OPTIONS[name])
    advance(wide, 3, 1)
    seen: list[Any] = []
    narrow = OPTIMIZERS[name](matrices(torch.bfloat16))
    exact = wide.state_dict()["state"]
    narrow.register_load_state_dict_post_hook(lambda o: seen.extend(v.dtype for v in kept(o)))
    narrow.load_state_dict(copy.deepcopy(wide.state_dict()))
    assert set(seen) == {torch.float32}  # a user's hook sees the restored state
    for i, row in narrow.state_dict()["state"].items():
        assert row.keys() == exact[i].keys()
        assert all(torch.equal(v, exact[i][k]) for k, v in row.items())
    for foreach in (False, True):
        narrow.param_groups[0]["foreach"] = foreach
        advance(narrow, 1, 2)
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in kept(narrow))
    assert narrow.param_groups[0]["params"][0].dtype == torch.bfloat16


def test_fused_checkpoint_of_torch_is_stepped_without_fusion() -> None:
    params = matrices()
    optimizer = torch.optim.AdamW(params, fused=True)
    advance(optimizer, 2, 1)
    ours = OPTIMIZERS["adamw"](params)
    ours.load_state_dict(optimizer.state_dict())
    assert ours.param_groups[0]["fused"] is None
    advance(ours, 1, 2)
    assert ours.state[params[0]]["step"] == 3
