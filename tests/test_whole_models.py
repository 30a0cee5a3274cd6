"""Whole models of the transformers library, drawn at random, before and after conversion: outputs
and the gradient of every parameter."""

import copy
import importlib
import os

import pytest

torch = pytest.importorskip("torch")
os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers", reason="the dev extra has transformers")
bpx_torch = importlib.import_module("bpx_torch")
convert_attention = importlib.import_module("bpx_torch._convert_attention")

pytestmark = pytest.mark.filterwarnings("default")  # those of the library are not ours to fix

TEXT = {"vocab_size": 37, "bos_token_id": None, "eos_token_id": None}


def _llama():
    config = transformers.LlamaConfig(
        **TEXT,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=16,
    )
    return transformers.LlamaForCausalLM(config)


def _gpt2():
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**TEXT, **sizes, **dropout))


SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def _bert():
    config = transformers.BertConfig(**TEXT, **SIZES, num_labels=5, max_position_embeddings=16)
    return transformers.BertForSequenceClassification(config)


def _vit():
    config = transformers.ViTConfig(**SIZES, image_size=12, patch_size=4, num_labels=5)
    return transformers.ViTForImageClassification(config)


def _resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], layer_type="basic", num_labels=5
    )
    return transformers.ResNetForImageClassification(config)


def _whisper():
    config = transformers.WhisperConfig(
        d_model=24,
        encoder_layers=2,
        encoder_attention_heads=3,
        encoder_ffn_dim=40,
        num_mel_bins=6,
        max_source_positions=10,
        dropout=0.0,
    )
    return importlib.import_module("transformers.models.whisper.modeling_whisper").WhisperEncoder(
        config
    )


# the model, the shape of its input (ids where it is two sizes), and what it must convert
MODELS = {
    "llama": (_llama, (2, 9), {"Embedding", "Linear", "LlamaRMSNorm", "SiLUActivation"}),
    "gpt2": (
        _gpt2,
        (2, 9),
        {"Embedding", "Dropout", "LayerNorm", "Conv1D", "NewGELUActivation", "Linear"},
    ),
    "bert": (
        _bert,
        (3, 9),
        {"Embedding", "Linear", "LayerNorm", "Dropout", "GELUActivation", "Tanh"},
    ),
    "vit": (_vit, (2, 3, 12, 12), {"Conv2d", "Linear", "LayerNorm", "Dropout", "GELUActivation"}),
    "resnet": (
        _resnet,
        (3, 3, 24, 24),
        {"Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AdaptiveAvgPool2d", "Linear"},
    ),
    "whisper": (_whisper, (2, 6, 20), {"Conv1d", "Linear", "LayerNorm", "GELUActivation"}),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    """A model in float64 whose parameters are all generic, its input, and what it converts."""
    make, shape, converted = MODELS[request.param]
    torch.manual_seed(0)
    model = make().double()
    with torch.no_grad():
        for p in model.parameters():
            p.requires_grad_().add_(0.2 * torch.randn_like(p))
    x = torch.randint(37, shape) if len(shape) == 2 else torch.randn(shape).double()
    return model, x, converted


def in_float64(model):
    """A copy whose RMS norms do not round to float32, which LlamaRMSNorm does in float64 too."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "LlamaRMSNorm":
                norm = torch.nn.RMSNorm(child.weight.shape, child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
    return model


def padding(ids):
    """The first row ends early, the others do not."""
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0
    return mask


def run(model, x, **inputs):
    """Output, gradients of all parameters under one cotangent, and buffers after, by name."""
    parameters = dict(model.named_parameters())
    given = x if x.dtype == torch.long else x.to(next(iter(parameters.values())).dtype)
    found = model(given, **inputs)
    y = found.logits if "logits" in found else found.last_hidden_state
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    grads = torch.autograd.grad(y, list(parameters.values()), dy.to(y.dtype))
    values = {"the output": y, **dict(zip(parameters, grads, strict=True))}
    return {**values, **dict(model.named_buffers())}


def errors(found, want):
    """name -> largest difference, relative to the largest value of the tensor.

    Adding a number to all keys leaves an attention as it is: the gradient of a key's bias is
    exactly 0, and what is found in its place is measured by the largest of all gradients.
    """
    scales = {name: value.abs().max().item() for name, value in want.items()}
    largest = max(scales.values())
    assert found.keys() == want.keys()
    return {
        name: (found[name].double() - value.double()).abs().max().item()
        / (largest if name.endswith(("key.bias", "k_proj.bias")) else scales[name] or 1.0)
        for name, value in want.items()
    }


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_float64(case, training):
    model, x, converted = case
    model.train(training)
    ours = copy.deepcopy(model)
    report = bpx_torch.convert(ours)
    assert {c.before.__name__ for c in report.replaced} >= converted
    left = {e.reason for e in report.left}
    assert left <= {"a forward of its own", "moves elements and computes nothing"}
    found = errors(run(ours, x), run(in_float64(model), x))
    assert max(found.values()) < 1e-10, found
    bpx_torch.revert(ours)
    assert [type(m) for m in ours.modules()] == [type(m) for m in model.modules()]
    assert torch.equal(*(run(m, x)["the output"] for m in (ours, model)))


def test_attention(case, monkeypatch):
    """The attention function of the library is bpx's, masks of padding and of the past included."""
    model, x, converted = case
    ours, calls = copy.deepcopy(model), []
    attention = convert_attention.attention
    monkeypatch.setattr(
        convert_attention, "attention", lambda *a, **o: calls.append(a) or attention(*a, **o)
    )
    said = [n for n in bpx_torch.convert(ours, attention=True).notes if n.startswith("attention")]
    if "Conv2d" in converted and "LayerNorm" not in converted:
        assert not said
        return
    assert "(before: sdpa)" in said[0]
    for mask in ({}, {"attention_mask": padding(x)}) if x.dtype == torch.long else ({},):
        found = errors(run(ours, x, **mask), run(in_float64(model), x, **mask))
        assert max(found.values()) < 1e-10, found
        assert len(calls) == 2  # one for a layer
        assert mask == {} or any(a is not None for a in calls[0][3:5])
        calls.clear()
    twin = copy.deepcopy(ours)
    bpx_torch.revert(ours)
    assert ours.config._attn_implementation == model.config._attn_implementation == "sdpa"
    run(ours, x)
    assert not calls
    run(twin, x)
    assert calls


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_float32(case, training):
    """Conversion loses no digits to what torch's own modules lose, both against float64.

    Both round the same sums, in different orders: their errors are two draws of one size, and a
    path through two layers has some 200 roundings, which add up at random to 16 eps.
    """
    model, x, _ = case
    model.train(training)
    want = run(in_float64(model), x)
    theirs = copy.deepcopy(model).float()
    ours = copy.deepcopy(theirs)
    bpx_torch.convert(ours)
    lost, own = errors(run(ours, x), want), errors(run(theirs, x), want)
    eps = torch.finfo(torch.float32).eps
    assert not {n: (e, own[n]) for n, e in lost.items() if not e <= 2 * own[n] + 16 * eps}


def test_rounding_would_show():
    """A weight off by one part in 10^4 is seen in float32, one in 10^9 in float64."""
    torch.manual_seed(0)
    model = _bert().double().eval()
    x = torch.randint(37, (3, 9))
    want = run(model, x)
    for dtype, off, bound in ((torch.float64, 1e-9, 1e-10), (torch.float32, 1e-4, 1e-5)):
        other = copy.deepcopy(model).to(dtype)
        bpx_torch.convert(other)
        with torch.no_grad():
            other.bert.encoder.layer[0].output.dense.weight.mul_(1 + off)
        assert max(errors(run(other, x), want).values()) > bound
