"""Attention's modules under autocast, compile, bad input, and where a query sees nothing."""

import copy
import pickle

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")

from bpx_torch import functional, nn

F, T = torch.nn.functional, torch.nn


def graph(y):
    """The names of all autograd nodes behind y."""
    names, queue, seen = set(), [y.grad_fn], set()
    while queue:
        node = queue.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(node.name())
            queue += [n for n, _ in node.next_functions]
    return names


@pytest.mark.parametrize("weights", [False, True])
def test_what_computes_is_a_rule(weights):
    """No product, softmax or norm is differentiated by torch."""
    layer, x = nn.MultiheadAttention(6, 2), torch.randn(5, 3, 6, requires_grad=True)
    y, w = layer(x, x, x, need_weights=weights)
    names = graph(y) if w is None else graph(y.sum() + w.sum())
    assert not {n for n in names if any(k in n for k in ("Mm", "Addmm", "Softmax", "ScaledDot"))}
    assert any(("_Weighted" if weights else "attention") in n for n in names), names
    block = nn.TransformerEncoderLayer(6, 2, 7, 0.1, activation="gelu")
    names = graph(block(x))
    library = ("Mm", "Addmm", "Softmax", "ScaledDot", "Norm", "Gelu", "Dropout")
    assert not {n for n in names if any(k in n for k in library)}, names
    for rule in ("attention", "linear", "layer_norm", "gelu", "dropout"):
        assert any(n.startswith(rule) for n in names), rule


def test_inference_takes_no_fused_path():
    layer = nn.TransformerEncoderLayer(6, 2, 7, batch_first=True).eval()
    stack = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    x, hidden = torch.randn(2, 3, 6), torch.tensor([[False, False, True], [False, False, False]])
    called = []
    for m in stack.modules():
        if isinstance(m, nn.MultiheadAttention):
            m.register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        y = stack(x, src_key_padding_mask=hidden)
    assert len(called) == 2
    assert y[0, 2].any(), "a padded position is computed as others are"


def test_copies():
    model = nn.Transformer(6, 2, 1, 1, 7, batch_first=True).eval()
    x = torch.randn(2, 3, 6)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x, x), model(x, x))
    mine = T.TransformerEncoder(T.TransformerEncoderLayer(6, 2, 7, batch_first=True), 1)
    whole = nn.Transformer(6, 2, 1, 1, 7, 0.1, F.relu, mine, batch_first=True)
    assert whole.encoder is mine
    assert type(mine.layers[0]) is T.TransformerEncoderLayer
    assert type(whole.decoder.layers[0]) is nn.TransformerDecoderLayer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    q = torch.randn(2, 2, 5, 4)
    x, hidden = torch.randn(5, 3, 6), torch.zeros(3, 5, dtype=torch.bool)
    ours, theirs = nn.MultiheadAttention(6, 2), T.MultiheadAttention(6, 2)
    theirs.load_state_dict(ours.state_dict())
    with torch.autocast("cpu", dtype):
        for f in (functional, F):
            assert f.scaled_dot_product_attention(q, q, q).dtype == dtype
        for options in ({}, {"need_weights": False}, {"key_padding_mask": hidden}):
            (y, w), (own, weights) = (m(x, x, x, **options) for m in (ours, theirs))
            assert y.dtype == own.dtype == dtype
            assert (w is None) == (weights is None)
            assert w is None or w.dtype == weights.dtype
            torch.testing.assert_close(y, own, rtol=0.05, atol=0.02)
    y.sum().backward()
    assert ours.in_proj_weight.grad.dtype == torch.float32


def test_compile():
    torch._dynamo.reset()
    layer = nn.TransformerEncoderLayer(6, 2, 7, 0.0, batch_first=True)
    x, causal = torch.randn(2, 5, 6), T.Transformer.generate_square_subsequent_mask(5)
    program = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for options in ({}, {"src_mask": causal, "is_causal": True}):
        found = []
        for f in (program, layer):
            layer.zero_grad()
            f(x, **options).sin().sum().backward()
            found.append([p.grad.clone() for p in layer.parameters()])
        for g, w in zip(*found, strict=True):
            torch.testing.assert_close(g, w)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_sequence_of_padding_alone(weights, kind):
    """torch gives NaN with weights; here the output is out_proj's bias and no gradient is NaN."""
    layer, x = nn.MultiheadAttention(6, 2).double(), torch.randn(4, 3, 6, dtype=torch.float64)
    x.requires_grad_()
    torch.nn.init.normal_(layer.out_proj.bias)
    hidden = torch.zeros(3, 4, dtype=torch.bool)
    hidden[1] = True
    if kind == "float":
        hidden = torch.zeros(3, 4, dtype=torch.float64).masked_fill(hidden, -torch.inf)
    y, w = layer(x, x, x, key_padding_mask=hidden, need_weights=weights)
    torch.testing.assert_close(y[:, 1], layer.out_proj.bias.expand(4, 6))
    assert w is None or not w[1].any()
    (dx,) = torch.autograd.grad(y.sin().sum(), x)
    assert not dx[:, 1].any()
    assert dx.isfinite().all()
    assert dx[:, [0, 2]].abs().min() > 0


Q = torch.randn(2, 4, 3, 6)
K = torch.randn(2, 2, 5, 6)
X = torch.randn(3, 2, 6)


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        ("have [4, 4, 3] heads, expected one number, or", (Q, Q, Q[:, :3]), {}),
        ("have [4, 2, 2] heads, expected one number, or enable_gqa=True", (Q, K, K), {}),
        (
            "attn_mask is given and is_causal is True",
            (Q, Q, Q, Q[0, 0, :, :3]),
            {"is_causal": True},
        ),
        ("have [4, 3, 4] dims, expected one number", (Q, Q[0], Q), {}),
        ("attn_mask has shape (3, 1, 3, 3), expected it to", (Q, Q, Q, torch.ones(3, 1, 3, 3)), {}),
        ("mask has shape (1, 1, 3, 2), expected 1 or", (Q, Q, Q, torch.ones(3, 2) > 0), {}),
        ("dropout_p is 1.5, expected 0 <=", (Q, Q, Q), {"dropout_p": 1.5}),
        ("mask has dtype torch.int64", (Q, Q, Q, torch.ones(3, 3, dtype=torch.int64)), {}),
    ],
)
def test_bad_input(message, arguments, options):
    with pytest.raises(SpecError) as caught:
        functional.scaled_dot_product_attention(*arguments, **options)
    assert message in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        ("have [3, 2, 3] dims, expected 3 each, or 2", (X, X[0], X), {}),
        ("query has 5 features, expected 6, a multiple of 2", (X[..., :5], X, X), {}),
        ("value has shape (2, 2, 6), expected key's (3, 2)", (X, X, X[:2]), {}),
        ("attn_mask is None, expected the mask", (X, X, X), {"is_causal": True}),
        (
            "of shape (2, 3), expected bool or floats of (3, 3) or (4, 3, 3)",
            (X, X, X),
            {"attn_mask": X[0, :, :3] > 0},
        ),
        (
            "key_padding_mask is torch.bool of shape (3, 2)",
            (X, X, X),
            {"key_padding_mask": X[..., 0] > 0},
        ),
        ("attn_mask is torch.int64", (X, X, X), {"attn_mask": torch.ones(3, 3, dtype=torch.int64)}),
    ],
)
def test_bad_input_of_the_module(message, arguments, options):
    with pytest.raises(SpecError) as caught:
        nn.MultiheadAttention(6, 2)(*arguments, **options)
    assert message in str(caught.value), str(caught.value)
