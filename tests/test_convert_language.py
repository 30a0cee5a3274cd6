"""Causal language models of the transformers library whose loss does without logits."""

import copy
import importlib
import pickle
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
bpx_torch = importlib.import_module("bpx_torch")
foreign = importlib.import_module("bpx_torch._convert_transformers")

from tests.test_convert_transformers import llama

pytestmark = pytest.mark.filterwarnings("default")  # those of the library are not ours to fix
LABELS = torch.tensor([[0, 6, -100, 3], [5, 2, 2, 1]])


def headed(path, dtype=torch.float32):
    """A model of a type in the table whose network is a constant: its last layer alone."""
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    model = kind.__new__(kind)
    torch.nn.Module.__init__(model)
    model.config = SimpleNamespace(vocab_size=7, return_dict=True)
    model.lm_head = torch.nn.Linear(5, 7, bias=name.startswith("Phi"))
    hidden = torch.randn(2, 4, 5)
    model.model = Constant(hidden)
    return model.to(dtype)


class Constant(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden = torch.nn.Parameter(hidden)

    def forward(self, **given):
        none = dict.fromkeys(("past_key_values", "hidden_states", "attentions"))
        return SimpleNamespace(last_hidden_state=self.hidden, **none)


def converted(model, **how):
    twin = copy.deepcopy(model)
    return twin, bpx_torch.convert(twin, include=type(model), loss=True, **how)


def gradients(loss, model):
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("path", foreign.LANGUAGE, ids=lambda p: p.rpartition(".")[2])
def test_loss_and_gradients_of_every_type(path):
    for dtype in (torch.float32, torch.bfloat16):
        own = headed(path, dtype)
        ours, report = converted(own)
        assert [c.before for c in report.replaced] == [type(own)]
        for more in (
            {},
            {"num_items_in_batch": 5},
            {"num_items_in_batch": torch.tensor(3)},
            {"shift_labels": LABELS.flip(1)},
            {"labels": LABELS.clamp(min=0), "ignore_index": 2},
        ):
            found, want = (m(**{"labels": LABELS, **more}) for m in (ours, own))
            assert found.logits is None
            assert want.logits.shape == (2, 4, 7)
            assert found.loss.dtype == want.loss.dtype == torch.float32
            # theirs rounds the logits, whose size is some units
            close = 16 * torch.finfo(dtype).eps
            torch.testing.assert_close(found.loss, want.loss, rtol=close, atol=close)
            for g, w in zip(gradients(found.loss, ours), gradients(want.loss, own), strict=True):
                bound = close * w.abs().max().item()
                torch.testing.assert_close(g, w, rtol=0, atol=bound)


def test_a_whole_model_in_training():
    own = llama().double().train()
    ours, report = converted(own)
    assert len(report.replaced) == 1
    tokens = torch.randint(7, (2, 9))
    found, want = (m(input_ids=tokens, labels=tokens) for m in (ours, own))
    assert found.loss.dtype == torch.float64
    eps = torch.finfo(torch.float32).eps  # theirs takes the loss in float32 from float64 too
    torch.testing.assert_close(found.loss, want.loss.double(), rtol=8 * eps, atol=0)
    for g, w in zip(gradients(found.loss, ours), gradients(want.loss, own), strict=True):
        torch.testing.assert_close(g, w, rtol=0, atol=64 * eps * w.abs().max().item())
    first, *rest = ours(input_ids=tokens, labels=tokens, return_dict=False)
    assert torch.equal(first, found.loss)
    assert len(rest) == 1  # the cache


def test_logits_stay_where_somebody_wants_them():
    own = headed("transformers.models.llama.modeling_llama.LlamaForCausalLM")
    ours, _ = converted(own)
    assert ours(labels=LABELS).logits is None
    assert torch.equal(ours().logits, own().logits)
    ours.eval()
    assert torch.equal(ours(labels=LABELS).logits, own(labels=LABELS).logits)
    ours.train()
    calls = []
    handle = ours.lm_head.register_forward_hook(lambda *_: calls.append(1))
    assert ours(labels=LABELS).logits is not None
    assert calls == [1]
    handle.remove()
    assert ours(labels=LABELS).logits is None
    ours.loss_function = lambda logits, labels, vocab_size, **_: logits.sum()
    found = ours(labels=LABELS)
    assert torch.equal(found.loss, found.logits.sum())


def test_it_is_asked_for_and_given_back():
    model = llama()
    before = type(model)
    assert before not in {c.before for c in bpx_torch.convert(model).replaced}
    assert type(model) is before
    bpx_torch.convert(model, loss=True)
    assert isinstance(model, before)
    assert type(model) is not before
    assert type(model).__name__ == "LlamaForCausalLM"
    twin = pickle.loads(pickle.dumps(model))
    assert type(twin) is type(model)
    bpx_torch.revert(model)
    assert type(model) is before


def test_a_model_that_computes_something_else_is_left_alone(monkeypatch):
    model = llama()
    kind = type(model)
    own = kind.forward

    def forward(self, **given):
        found = own(self, **given)
        found.loss = 2 * found.loss
        return found

    monkeypatch.setattr(kind, "forward", forward)
    report = bpx_torch.convert(model, loss=True)
    (left,) = (e for e in report.left if e.type is kind)
    assert "gives other values than the rule" in left.reason
    assert type(model) is kind


def test_a_small_llama_keeps_six_tenths_for_backward():
    """Of the bytes that autodiff keeps beside parameters, with the native core and without it."""
    from bpx.rule import use
    from bpx_torch._bench_models import LLAMA, TOKENS
    from bpx_torch.bench import saved_bytes

    own = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    ours = copy.deepcopy(own)
    bpx_torch.convert(ours, loss=True)
    tokens = torch.randint(LLAMA["vocab_size"], TOKENS)

    def kept(model):
        forward = lambda: model(input_ids=tokens, labels=tokens).loss  # noqa: E731
        return saved_bytes(forward, tuple(model.parameters())).made

    wanted = kept(own)
    assert 0 < kept(ours) <= 0.6 * wanted
    with use("plain"):
        assert 0 < kept(ours) <= 0.6 * wanted
