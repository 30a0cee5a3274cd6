"""What people do with a converted model: parametrize, compile, distribute, train in bfloat16."""

import contextlib
import copy
import importlib
import time

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
bpx_torch = importlib.import_module("bpx_torch")
convert, revert = bpx_torch.convert, bpx_torch.revert


WRAPPED = {
    "weight_norm": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.parametrizations.spectral_norm,
    "weight_norm by a hook": nn.utils.weight_norm,
    "spectral_norm by a hook": nn.utils.spectral_norm,
    "pruning": lambda m: nn.utils.prune.random_unstructured(m, "weight", 0.3),
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_parametrized(how):
    prune = importlib.import_module("torch.nn.utils.prune")
    assert prune
    model = nn.Sequential(WRAPPED[how](nn.Linear(4, 3).double()))
    model.eval()
    parameters = dict(model.named_parameters())
    x = torch.randn(5, 4, dtype=torch.float64)
    y = model(x)
    want = torch.autograd.grad(y, list(parameters.values()), torch.ones_like(y).cumsum(0))
    report = convert(model)
    assert [c.after for c in report.replaced] == [bpx_torch.nn.Linear]
    assert isinstance(model[0], bpx_torch.nn.Linear)
    assert list(map(id, model.parameters())) == list(map(id, parameters.values()))
    got = torch.autograd.grad(model(x), list(parameters.values()), torch.ones_like(y).cumsum(0))
    assert "linear_plain" in model(x).grad_fn.name()
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    revert(model)
    assert not isinstance(model[0], bpx_torch.nn.Linear)
    torch.testing.assert_close(model(x), y)


def test_a_parametrized_copy_is_converted_alone():
    """deepcopy shares the type that torch makes for a parametrized module."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    twin = copy.deepcopy(layer)
    convert(twin)
    assert isinstance(twin, bpx_torch.nn.Linear)
    assert not isinstance(layer, bpx_torch.nn.Linear)
    x = torch.randn(5, 4)
    torch.testing.assert_close(twin(x), layer(x))
    nn.utils.parametrize.remove_parametrizations(twin, "weight")
    assert type(twin) is bpx_torch.nn.Linear
    assert type(revert(twin).replaced[0].after) is type
    assert type(twin) is nn.Linear


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 3))

    def forward(self, x):
        return self.body(x)


def network():
    torch.manual_seed(1)
    return Network()


def gradients(model, x):
    y = model(x)
    y.square().sum().backward()
    return y.detach(), [p.grad for p in model.parameters()]


def test_transformer():
    """Converted part by part it is what bpx_torch.nn makes, and computes what torch's does."""
    sizes = (6, 2, 1, 1, 8, 0.0)
    torch.manual_seed(1)
    model = nn.Transformer(*sizes, batch_first=True).double().eval()
    source, target = torch.randn(2, 5, 6).double(), torch.randn(2, 4, 6).double()
    past = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    results = []
    for convert_it in (False, True):
        if convert_it:
            report = convert(model)
        y = model(source, target, tgt_mask=past)
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
        results.append((y, *torch.autograd.grad(y, list(model.parameters()), dy)))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    made = bpx_torch.nn.Transformer(*sizes, batch_first=True)
    assert [type(m) for m in model.modules()] == [type(m) for m in made.modules()]
    assert {e.type for e in report.left} == {type(model.encoder.layers[0].self_attn.out_proj)}
    revert(model)
    assert {type(m).__module__.split(".")[0] for m in model.modules()} == {"torch"}


@pytest.mark.parametrize("when", ["before", "after", "in place"])
def test_compile(when):
    """Compiled before the conversion too: the types are guarded."""
    x = torch.randn(5, 4)
    want = gradients(network(), x)
    model = compiled = network()
    if when == "in place":
        model.compile(backend="aot_eager", fullgraph=True)
    elif when == "before":
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    if when != "after":
        compiled(x)
    assert len(convert(model).replaced) == 4
    if when == "after":
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradients(compiled, x), want, rtol=1e-4, atol=1e-5)


def test_data_parallel(tmp_path):
    dist = torch.distributed
    if not dist.is_available() or dist.is_initialized():
        pytest.skip("torch.distributed is not available")
    x = torch.randn(5, 4)
    want = gradients(network(), x)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = network()
        convert(model)
        torch.testing.assert_close(
            gradients(nn.parallel.DistributedDataParallel(model), x), want, rtol=1e-5, atol=1e-5
        )
        wrapped = nn.parallel.DistributedDataParallel(network())
        assert len(convert(wrapped).replaced) == 4
        torch.testing.assert_close(gradients(wrapped, x), want, rtol=1e-5, atol=1e-5)
    finally:
        # gloo's thread lets go of its last sum, for which it may need the interpreter's lock: torch
        # waits for that thread, where a group is dropped, with the lock held
        time.sleep(0.5)
        dist.destroy_process_group()


@pytest.mark.parametrize("how", ["autocast", "bfloat16"])
def test_half_precision_trains(how):
    """Twenty steps: the loss falls, along the curve of torch's own modules."""
    x, curves = torch.randn(32, 4), []
    target = torch.stack((x[:, 0] * x[:, 1], x[:, 2].abs(), x.sum(1)), 1)
    for convert_it in (False, True):
        model = network()
        if convert_it:
            assert len(convert(model).replaced) == 4
        if how == "bfloat16":
            model, x, target = model.bfloat16(), x.bfloat16(), target.bfloat16()
        context = torch.autocast("cpu", torch.bfloat16)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            with context if how == "autocast" else contextlib.nullcontext():
                y = model(x)
            assert y.dtype == torch.bfloat16
            loss = (y.float() - target.float()).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        curves.append(torch.stack(losses))
    theirs, ours = curves
    assert ours[-1] < 0.6 * ours[0]
    # bfloat16 has a rounding error of 2^-9 in each of the six tensors of a step
    first = 6 * 2**-8
    torch.testing.assert_close(ours[0], theirs[0], rtol=first, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=4 * first, atol=0)
