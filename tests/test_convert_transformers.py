"""Modules of the transformers library that convert replaces: each computes what the rule does."""

import copy
import importlib
import os
import pickle

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers", reason="the dev extra has transformers")
bpx_torch = importlib.import_module("bpx_torch")
attention = importlib.import_module("bpx_torch._convert_attention")
foreign = importlib.import_module("bpx_torch._convert_transformers")

pytestmark = pytest.mark.filterwarnings("default")  # those of the library are not ours to fix


def llama():
    config = transformers.LlamaConfig(
        vocab_size=7,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.LlamaForCausalLM(config)


def make(path):
    """A module of a type in the table, with generic weights."""
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    sizes = (6, 5) if name == "Conv1D" else (5,) if "Norm" in name else ()
    made = kind(config(module, name)) if name.endswith("MLP") else kind(*sizes)
    assert type(made) is kind
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


def config(module, name):
    """Of a small feed-forward block; its sizes as the type asks for them."""
    prefix = name.removesuffix("MLP")
    own = importlib.import_module(module.replace("modeling", "configuration"))
    kind = getattr(own, f"{prefix}TextConfig", None) or getattr(own, f"{prefix}Config")
    made = kind()
    made.hidden_size, made.intermediate_size = 5, 6
    return made


@pytest.mark.parametrize("path", foreign.TABLE, ids=lambda p: p.rpartition(".")[2])
def test_type_of_the_library(path):
    """Values and gradients of every type that is replaced, in the dtypes that models have."""
    theirs = make(path)
    for weights in (torch.float64, torch.float32, torch.bfloat16):
        for given in {weights, torch.float32, torch.bfloat16}:
            ours = copy.deepcopy(theirs).to(weights)
            own = copy.deepcopy(ours)
            replaced = [c.before for c in bpx_torch.convert(ours).replaced]
            assert replaced[-1 if "MLP" not in path else 0] is type(theirs)
            x = torch.randn(4, 5, dtype=given, requires_grad=True)
            if path.endswith(("Conv1D", "MLP")) and weights != given:
                continue  # refused by both
            y, want = ours(x), own(x)
            assert y.dtype == want.dtype
            dy = torch.randn(y.shape).to(y.dtype)
            results = [
                (out.detach(), *torch.autograd.grad(out, [x, *m.parameters()], dy))
                for out, m in ((y, ours), (want, own))
            ]
            # norms of the library compute in float32 in float64 too; a bfloat16 has 8 bits, and
            # theirs rounds a product, or several, on the way
            coarse = min(given, weights, key=lambda d: torch.finfo(d).bits)
            eps = max(torch.finfo(torch.float32).eps, torch.finfo(coarse).eps)
            eps = torch.finfo(coarse).eps if "Norm" not in path else eps
            for got, right in zip(*results, strict=True):
                bound = 16 * eps * right.abs().max().item()
                torch.testing.assert_close(got, right, rtol=0, atol=bound)


def test_a_type_that_computes_something_else_is_left_alone(monkeypatch):
    model = llama()
    kind = type(model.model.norm)
    own = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: own(self, x) * (1 + self.weight))
    report = bpx_torch.convert(model)
    left = [e for e in report.left if e.type is kind]
    assert len(left) == 5
    assert "gives other values than the rule" in left[0].reason
    assert type(model.lm_head) is bpx_torch.nn.Linear
    assert not [
        c
        for c in bpx_torch.convert(llama(), transformers=False).replaced
        if c.before.__module__.startswith("transformers")
    ]


def test_replaced_types_stay_what_they_are():
    model = llama()
    norm = type(model.model.norm)
    bpx_torch.convert(model)
    assert isinstance(model.model.norm, norm)
    assert type(model.model.norm).__name__ == "LlamaRMSNorm"
    twin = pickle.loads(pickle.dumps(model))
    assert type(twin.model.norm) is type(model.model.norm) is not norm
    with pytest.raises(AttributeError, match="has no attribute 'LlamaRMSNorm'"):
        foreign.LlamaRMSNorm  # noqa: B018


class Attends:
    is_causal = True


@pytest.mark.parametrize("softcap", [None, 0.8])
@pytest.mark.parametrize("masked", ["causal", "bool", "float", "bias and bool"])
def test_attention_function(masked, softcap):
    """Against the formula: grouped heads, every kind of mask, a softcap."""
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, h, 5, 3, dtype=torch.float64) for h in (4, 2, 2))
    seen = torch.rand(2, 1, 5, 5) < 0.7
    seen[..., 0] = True
    mask, bias = {
        "causal": (None, None),
        "bool": (seen, None),
        "float": (torch.randn(2, 1, 5, 5).double(), None),
        "bias and bool": (seen, torch.randn(1, 4, 5, 5).double()),
    }[masked]
    options = {"scaling": 0.7, "softcap": softcap, "position_bias": bias}
    y, weights = attention.forward(Attends(), query, key, value, mask, **options)
    assert weights is None
    k, v = (a.repeat_interleave(2, 1) for a in (key, value))
    s = 0.7 * query @ k.mT
    s = s if softcap is None else softcap * torch.tanh(s / softcap)
    s = s if bias is None else s + bias
    if masked == "float":
        s = s + mask
    else:
        s = s.masked_fill(~(torch.ones(5, 5).tril().bool() if mask is None else mask), -torch.inf)
    want = (torch.softmax(s, -1) @ v).transpose(1, 2)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)


def test_attention_function_refuses_sinks():
    query = torch.randn(2, 4, 5, 3)
    with pytest.raises(SpecError, match="attention: s_aux is given, expected none"):
        attention.forward(Attends(), query, query, query, None, s_aux=torch.zeros(4))


def test_attention_dropout():
    query, key, value = (torch.randn(2, 2, 40, 3) for _ in range(3))
    torch.manual_seed(0)
    y = attention.forward(Attends(), query, key, value, None, 0.3)[0]
    torch.manual_seed(0)
    assert torch.equal(attention.forward(Attends(), query, key, value, None, 0.3)[0], y)
    again = attention.forward(Attends(), query, key, value, None, 0.3)[0]
    assert not torch.equal(again, y)


def test_a_feed_forward_block_keeps_no_product():
    """Fewer bytes for backward, the same gradients, and its own forward where a call is heard."""
    torch.manual_seed(3)
    own = llama().model.layers[0].mlp.double()
    ours = copy.deepcopy(own)
    bpx_torch.convert(ours)
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    dy = torch.randn(5, 8, dtype=torch.float64)

    def run(block):
        kept = {}

        def pack(t):
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = block(x)
        return sum(kept.values()), torch.autograd.grad(y, [x, *block.parameters()], dy)

    (less, grads), (more, wanted) = run(ours), run(own)
    assert more - less == 2 * 5 * 8 * 8  # the activated gate and the product
    torch.testing.assert_close(grads, wanted, rtol=1e-12, atol=1e-12)
    heard = []
    ours.down_proj.register_forward_hook(lambda *_: heard.append(1))
    again, grads = run(ours)
    assert heard == [1]
    assert again > less
    torch.testing.assert_close(grads, wanted, rtol=1e-12, atol=1e-12)
