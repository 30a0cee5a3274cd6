"""The recurrent layers and cells under torch.nn's names against torch's own."""

import copy
import importlib
import inspect
import pickle

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
nn = importlib.import_module("bpx_torch._nn_recurrent")
pack = torch.nn.utils.rnn.pack_padded_sequence

LAYERS = {"RNN": {}, "RNN relu": {"nonlinearity": "relu"}, "GRU": {}, "LSTM": {}}
CELLS = {"RNNCell": {}, "RNNCell relu": {"nonlinearity": "relu"}, "GRUCell": {}, "LSTMCell": {}}
STATES = {"LSTM": 2, "LSTMCell": 2}
SHAPES = {
    "plain": {},
    "two layers, no bias": {"num_layers": 2, "bias": False},
    "both directions": {"bidirectional": True},
    "all": {"num_layers": 3, "bidirectional": True, "batch_first": True},
}


def pair(name, *args, **options):
    """Our module and torch's, with the same weights."""
    kind = name.split()[0]
    theirs = getattr(torch.nn, kind)(*args, **options, dtype=torch.float64)
    ours = getattr(nn, kind)(*args, **options, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def state(name, *shape):
    """The argument hx: one array or a tuple of them."""
    n = STATES.get(name.split()[0], 1)
    return randn(*shape) if n == 1 else tuple(randn(*shape) for _ in range(n))


def flat(outputs):
    """The arrays of nested outputs, a packed sequence's data among them."""
    if isinstance(outputs, torch.nn.utils.rnn.PackedSequence):
        return [outputs.data]
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [a for part in outputs for a in flat(part)]


def run(module, x, hx, wrap=lambda x: x):
    """Outputs, and the gradients of input, states and parameters with random cotangents."""
    x = x.detach().clone().requires_grad_()
    leaves = [x]
    if hx is not None:
        states = [s.detach().clone().requires_grad_() for s in flat(hx)]
        leaves, hx = [x, *states], states[0] if isinstance(hx, torch.Tensor) else tuple(states)
    outputs = module(wrap(x)) if hx is None else module(wrap(x), hx)
    flat_outputs = flat(outputs)
    generator = torch.Generator().manual_seed(5)
    dys = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in flat_outputs]
    grads = torch.autograd.grad(flat_outputs, [*leaves, *module.parameters()], dys)
    return outputs, [*flat_outputs, *grads]


def compare(modules, x, hx, **options):
    ours, theirs = (run(m, x, hx, **options)[1] for m in modules)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, shape):
    options = {**LAYERS[name], **SHAPES[shape]}
    modules = pair(name, 4, 3, **options)
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    x = randn(2, 5, 4) if options.get("batch_first") else randn(5, 2, 4)
    compare(modules, x, state(name, rows, 2, 3))
    compare(modules, x, None)
    compare(modules, randn(5, 4), state(name, rows, 3))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_packed(name, shape):
    """Sequences of unlike lengths, given longest first or in any order."""
    options = {**LAYERS[name], **SHAPES[shape]}
    modules = pair(name, 4, 3, **options)
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    first = options.get("batch_first", False)
    x = randn(3, 5, 4) if first else randn(5, 3, 4)
    for lengths in ([5, 3, 1], [2, 5, 4]):
        wrap = lambda x, lengths=lengths: pack(x, lengths, first, enforce_sorted=lengths[0] == 5)  # noqa: E731
        compare(modules, x, state(name, rows, 3, 3), wrap=wrap)
        ours, theirs = (run(m, x, None, wrap)[0][0] for m in modules)
        for a, b in zip(ours, theirs, strict=True):
            assert (a is b is None) or a.shape == b.shape
        assert torch.equal(ours.batch_sizes, theirs.batch_sizes)


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_between_layers(name):
    """torch's own, from the same generator: the same numbers; none in evaluation."""
    modules = pair(name, 4, 3, num_layers=3, dropout=0.4, **LAYERS[name])
    x = randn(5, 2, 4)
    found = []
    for m in modules:
        torch.manual_seed(3)
        found.append(run(m, x, None)[1])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)
    [m.eval() for m in modules]
    compare(modules, x, None)
    assert not torch.equal(found[0][0], modules[0](x)[0])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cell(name, bias):
    modules = pair(name, 4, 3, bias, **CELLS[name])
    compare(modules, randn(2, 4), state(name, 2, 3))
    compare(modules, randn(2, 4), None)
    compare(modules, randn(4), state(name, 3))


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_is_torchs_module(name):
    kind, options = name.split()[0], {**LAYERS, **CELLS}[name]
    ours, theirs = pair(name, 4, 3, **options)
    assert isinstance(ours, getattr(torch.nn, kind))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    names = [list(inspect.signature(m.forward).parameters) for m in (ours, theirs)]
    assert names[0] == names[1]
    x = randn(2, 4) if name in CELLS else randn(5, 2, 4)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert all(map(torch.equal, flat(other(x)), flat(ours(x))))


@pytest.mark.parametrize("packed", [False, True])
def test_dropout_between_layers_draws_as_torchs(packed):
    modules = pair("LSTM", 4, 3, num_layers=3, bidirectional=True, dropout=0.5)
    x = randn(5, 3, 4)
    wrap = (lambda x: pack(x, [2, 5, 4], enforce_sorted=False)) if packed else (lambda x: x)
    found = []
    for module in modules:
        torch.manual_seed(4)
        found.append(run(module, x, None, wrap)[1])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)
    assert not torch.allclose(found[0][0], modules[0].eval()(wrap(x))[0][0])


@pytest.mark.parametrize("entry", ["rnn", "gru", "lstm"])
def test_what_follows_an_end_has_no_part(entry):
    """NaN and infinity in the padding leave no trace, and get a zero gradient."""
    rule, lengths = getattr(nn, f"_{entry}").RULE, torch.tensor([2, 5, 0])
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[entry]
    state = [randn(3, 3)] * (2 if entry == "lstm" else 1)
    weights = [randn(3 * gates, 4), randn(3 * gates, 3), randn(3 * gates), randn(3 * gates)]
    x, found = randn(5, 3, 4), []
    past = torch.arange(5)[:, None, None] >= lengths[:, None]
    for fill in (0.0, torch.nan, torch.inf):
        leaves = [
            a.clone().requires_grad_() for a in (torch.where(past, fill, x), *state, *weights)
        ]
        y = rule(*leaves, lengths)
        dy = randn(*y.shape) if not found else dy  # noqa: F821
        found.append([y, *torch.autograd.grad(y, leaves, torch.where(past, fill, dy))])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=0)
    assert not found[1][1][past.expand(5, 3, 4)].any()
    torch.testing.assert_close(found[1][2][2], torch.zeros_like(found[1][2][2]))


@pytest.mark.parametrize("name", LAYERS)
def test_the_hand_written_backward_runs(name):
    y = flat(getattr(nn, name.split()[0])(4, 3, **LAYERS[name])(torch.randn(5, 2, 4)))[0]
    names, queue = set(), [y.grad_fn]
    while queue:
        node = queue.pop()
        names.add(node.name())
        queue += [n for n, _ in node.next_functions if n is not None]
    entry = name.split()[0].lower()
    assert names & {f"{entry}_plainBackward", f"{entry}_cpuBackward"}
    assert not [n for n in names if "Addmm" in n or "Rnn" in n]


@pytest.mark.parametrize("name", LAYERS)
def test_mistakes_of_a_layer(name):
    module, entry = pair(name, 4, 3, num_layers=2, **LAYERS[name])[0], name.split()[0].lower()
    for message, x, hx in (
        (r"input has shape \(4,\), expected \(T B I\)", randn(4), None),
        (r"hx has shape \(2, 3, 5\), expected \(2, 3, 3\)", randn(5, 3, 4), (2, 3, 5)),
        (r"hx has shape \(1, 3, 3\), expected \(2, 3, 3\)", randn(5, 3, 4), (1, 3, 3)),
        (r"x has 0 steps, expected at least 1", randn(0, 3, 4), None),
        (r"but dim I is 5", randn(5, 3, 5), None),
    ):
        with pytest.raises(SpecError, match=f"{entry}: .*{message}"):
            module(x, None if hx is None else state(name, *hx))


@pytest.mark.parametrize("name", CELLS)
def test_mistakes_of_a_cell(name):
    module, entry = pair(name, 4, 3, **CELLS[name])[0], name.split()[0].lower()[:-4]
    for message, x, hx in (
        (r"input has shape \(1, 2, 4\), expected \(B I\)", randn(1, 2, 4), None),
        (r"hx has shape \(3,\), expected \(2, 3\)", randn(2, 4), (3,)),
        (r"hx has shape \(1, 3\), expected \(3,\)", randn(4), (1, 3)),
    ):
        with pytest.raises(SpecError, match=f"{entry}: {message}"):
            module(x, None if hx is None else state(name, *hx))


def test_mistakes_of_lstm_alone():
    h = randn(1, 2, 3)
    with pytest.raises(SpecError, match=r"lstm: hx holds 3 arrays, expected 2, \(h, c\)"):
        pair("LSTM", 4, 3)[0](randn(5, 2, 4), (h, h, h))
    with pytest.raises(SpecError, match="lstm: hx holds 1 arrays, expected 2"):
        pair("LSTMCell", 4, 3)[0](randn(2, 4), (h[0],))
    with pytest.raises(SpecError, match="lstm: proj_size is 2, expected 0"):
        pair("LSTM", 4, 3, proj_size=2)[0](randn(5, 2, 4))


@pytest.mark.parametrize("name", LAYERS)
def test_low_precision(name):
    """bfloat16 modules give and take bfloat16; so do float32 ones under autocast, but for the
    states of a GRU."""
    module = getattr(nn, name.split()[0])(4, 3, 2, **LAYERS[name])
    x = torch.randn(5, 2, 4)
    want = flat(module(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flat(module(x))
    low = copy.deepcopy(module).bfloat16()
    states = torch.float32 if name.startswith("GRU") else torch.bfloat16
    for outputs, dtype in ((found, states), (flat(low(x.bfloat16())), torch.bfloat16)):
        assert {y.dtype for y in outputs} == {dtype}
        torch.testing.assert_close([y.float() for y in outputs], want, rtol=0.05, atol=0.05)
    outputs[0].sum().backward()
    assert {p.grad.dtype for p in low.parameters()} == {torch.bfloat16}
