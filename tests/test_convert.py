"""bpx_torch.convert and revert change the types of modules, and nothing else in a model."""

import copy
import importlib
import inspect
import io
import pickle

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
nn = torch.nn
bpx_torch = importlib.import_module("bpx_torch")
types = importlib.import_module("bpx_torch._convert_types")
convert, revert = bpx_torch.convert, bpx_torch.revert


class Net(nn.Module):
    """Tied weights, a module under two names, every kind of parameter, and a forward of its own."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6, padding_idx=2)
        self.body = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5), nn.PReLU())
        self.recurrent = nn.GRU(5, 6, batch_first=True)
        self.norm = nn.BatchNorm1d(6)
        self.again = self.body[0]
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.note = "kept"

    def forward(self, ids):
        x = self.recurrent(self.body(self.embedding(ids)))[0]
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.recurrent(self.again(x))[0]
        return torch.log_softmax(self.head(x), -1)


def pair():
    model = Net().double()
    model.body[2].weight.requires_grad_(False)
    return model, copy.deepcopy(model), torch.randint(11, (3, 4))


def kinds(model):
    return {name: type(m) for name, m in model.named_modules()}


@pytest.mark.parametrize("theirs", types.TABLE, ids=lambda t: t.__name__)
def test_types_differ_in_forward_alone(theirs):
    """So that a module may change its type as it stands."""
    ours = types.TABLE[theirs]
    own = [c for c in ours.__mro__ if c not in theirs.__mro__]
    # values of a class stand for what a profile sets in an instance, and are torch's
    changed = {n for c in own for n, v in vars(c).items() if callable(v) and not n.startswith("_")}
    assert changed <= {"forward", "extra_repr", "log_prob"}  # the last, a second forward
    special = {"__init__", "__getstate__", "__setstate__"} & {n for c in own for n in vars(c)}
    # Transformers make their parts of bpx's modules, and test_transformer has them converted; a
    # constructor that takes a profile runs torch's, and changes nothing without one
    profiled = "profile" in (ours.__init__.__kwdefaults__ or {})
    made = theirs.__name__.startswith("Transformer")
    assert special <= ({"__init__"} if made or profiled else set())
    assert ours.__name__ == theirs.__name__
    names = [list(inspect.signature(c.forward).parameters) for c in (ours, theirs)]
    assert len(names[0]) == len(names[1]) or "args" in names[1]


def test_every_module_with_a_counterpart_is_converted():
    model, _, _ = pair()
    before = {name: id(m) for name, m in model.named_modules(remove_duplicate=False)}
    report = convert(model)
    assert {name: id(m) for name, m in model.named_modules(remove_duplicate=False)} == before
    for name, m in model.named_modules():
        if type(m) not in (Net, nn.Sequential):
            assert type(m) is getattr(bpx_torch.nn, type(m).__name__), name
    assert report.counts["torch.nn.Linear"] == 2
    assert sum(report.counts.values()) == len(report.replaced) == 8
    assert next(c for c in report.replaced if len(c.names) > 1).names == ("body.0", "again")
    assert [(e.names, e.type, e.reason) for e in report.left] == [
        (("",), Net, "a forward of its own")
    ]


def test_parameters_are_the_same_objects():
    model, _, _ = pair()
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    convert(model)
    after = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    assert [(n, id(t)) for n, t in tensors] == [(n, id(t)) for n, t in after]
    assert model.head.weight is model.embedding.weight
    assert model.again is model.body[0]
    assert model.note == "kept"
    assert not model.body[2].weight.requires_grad


def test_an_optimizer_made_before_goes_on():
    model, twin, ids = pair()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.05) for m in (model, twin)]
    convert(model)
    start = {n: p.clone() for n, p in model.named_parameters()}
    for _ in range(3):
        for m, optimizer in zip((model, twin), optimizers, strict=True):
            optimizer.zero_grad()
            m(ids).square().mean().backward()
            optimizer.step()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert p.requires_grad != torch.equal(p, start[name]), name
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)
    for p, q in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)


def test_hooks_are_kept():
    model, twin, ids = pair()
    fired = {id(m): [] for m in (model, twin)}
    handles = []
    for m in (model, twin):
        log = fired[id(m)].append
        layer = m.body[0]
        handles += [
            layer.register_forward_pre_hook(lambda *_, log=log: log("before forward")),
            layer.register_forward_hook(lambda _m, _i, y, log=log: log("forward") or 2 * y),
            layer.register_full_backward_pre_hook(lambda *_, log=log: log("before backward")),
            layer.register_full_backward_hook(lambda *_, log=log: log("backward")),
            layer.register_state_dict_pre_hook(lambda *_, log=log: log("before state")),
            layer.register_state_dict_post_hook(lambda *_, log=log: log("state")),
            layer.register_load_state_dict_pre_hook(lambda *_, log=log: log("load")),
            layer.weight.register_hook(lambda g, log=log: log("gradient") or 3 * g),
        ]
    convert(model)
    outputs = []
    for m in (model, twin):
        y = m(ids)
        y.square().sum().backward()
        outputs.append((y, *(p.grad for p in m.parameters() if p.requires_grad)))
        m.load_state_dict(m.state_dict())
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)
    assert fired[id(model)] == fired[id(twin)]
    assert len(set(fired[id(model)])) == 8
    revert(model)
    for handle in handles[: len(handles) // 2]:
        handle.remove()
    fired[id(model)].clear()
    model(ids)
    assert not fired[id(model)]


def test_modes_are_kept_and_followed():
    model, twin, ids = pair()
    model.norm.eval()
    twin.norm.eval()
    convert(model)
    assert [m.training for m in model.modules()] == [m.training for m in twin.modules()]
    torch.testing.assert_close(model(ids), twin(ids))
    assert torch.equal(model.norm.running_mean, torch.zeros(6).double())
    model.train()(ids)
    twin.train()(ids)
    assert model.norm.num_batches_tracked == 1
    torch.testing.assert_close(model.norm.running_var, twin.norm.running_var)
    model.half()
    assert {p.dtype for p in model.parameters()} == {torch.float16}


def test_revert_gives_the_types_back():
    model, twin, ids = pair()
    model.made_so = bpx_torch.nn.Linear(2, 2)
    twin.made_so = bpx_torch.nn.Linear(2, 2)
    twin.load_state_dict(model.state_dict())
    before, attributes = kinds(model), [dict(vars(m)) for m in model.modules()]
    report = convert(model)
    back = revert(model)
    assert kinds(model) == before
    assert type(model.made_so) is bpx_torch.nn.Linear
    for m, found in zip(model.modules(), attributes, strict=True):
        assert vars(m).keys() == found.keys()
    assert [(c.names, c.before, c.after) for c in back.replaced] == [
        (c.names, c.after, c.before) for c in report.replaced
    ]
    assert torch.equal(model(ids), twin(ids))
    assert not revert(model).replaced


def test_twice_is_once():
    model, twin, ids = pair()
    first = convert(model)
    after = kinds(model)
    second = convert(model)
    assert kinds(model) == after
    assert not second.replaced
    already = [e for e in second.left if e.reason == "bpx's already"]
    assert len(already) == len(first.replaced)
    torch.testing.assert_close(model(ids), twin(ids))


def test_state_dict_goes_both_ways():
    model, twin, ids = pair()
    convert(model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    state = model.state_dict()
    assert list(state) == list(twin.state_dict())
    twin.load_state_dict(state)
    for key, value in twin.state_dict().items():
        assert torch.equal(value, state[key])
    torch.testing.assert_close(model(ids), twin(ids))


def test_a_leaf_is_a_model():
    layer = nn.Linear(3, 2)
    report = convert(layer)
    assert type(layer) is bpx_torch.nn.Linear
    assert report.replaced[0].names == ("",)
    assert "the model itself" in str(report)
    revert(layer)
    assert type(layer) is nn.Linear


def test_copies_and_pickles():
    model, _, ids = pair()
    convert(model)
    y = model(ids)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
    ):
        assert kinds(twin) == kinds(model)
        assert twin.head.weight is twin.embedding.weight
        torch.testing.assert_close(twin(ids), y)
        revert(twin)
        assert type(twin.head) is nn.Linear
        assert type(model.head) is bpx_torch.nn.Linear


@pytest.mark.parametrize("f", [convert, revert])
def test_refuses_what_is_no_module(f):
    name = f.__name__
    with pytest.raises(SpecError, match=f"{name}: model is OrderedDict, expected a torch.nn.Mod"):
        f(nn.Linear(2, 2).state_dict())
    with pytest.raises(SpecError, match=f"{name}: model is type, expected a torch.nn.Module"):
        f(nn.Linear)
