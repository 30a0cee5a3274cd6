"""Attention under the names of torch and jax.nn: values, gradients, options, modules, refusals."""

import inspect
import itertools

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import functional, nn

F, T = torch.nn.functional, torch.nn
NAMES = (
    "MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer TransformerEncoder "
    "TransformerDecoder Transformer"
)
QUIET = pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:Support for mismatched")


def randn(*shape, grad=False):
    return torch.randn(shape, dtype=torch.float64, requires_grad=grad)


def close(got, want):
    for g, w in zip(got, want, strict=True):
        if w is None:
            assert g is None
        else:
            torch.testing.assert_close(g, w, rtol=1e-11, atol=1e-12)


def same(ours, theirs, inputs, *more):
    """Outputs, and gradients of inputs and further leaves (ours, theirs) of a loss of them all."""
    close(ours, theirs)
    grads = []
    for out, leaves in ((ours, 0), (theirs, 1)):
        loss = sum(y.sin().sum() for y in out if y is not None)
        grads.append(torch.autograd.grad(loss, [*inputs, *(x for m in more for x in m[leaves])]))
    close(*grads)


@pytest.mark.parametrize("name", NAMES.split())
def test_signatures(name):
    ours, theirs = getattr(nn, name), getattr(T, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    got, want = (list(inspect.signature(m.forward).parameters) for m in (ours, theirs))
    assert got == want


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "multi_head_attention_forward"])
def test_signatures_of_functions(name):
    parameters = inspect.signature(getattr(functional, name)).parameters
    if name == "multi_head_attention_forward":
        want = inspect.signature(F.multi_head_attention_forward).parameters
        assert [(p.name, p.default) for p in want.values()] == [
            (p.name, p.default) for p in parameters.values()
        ]
    else:  # torch's own is built in: its docstring has the signature
        assert list(parameters) == [
            *("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale"),
            "enable_gqa",
        ]


SDPA = [
    ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7), None, {"is_causal": True}),
    ((3, 5, 4), (3, 6, 4), (3, 6, 7), (3, 5, 6), {"scale": 0.3}),
    ((5, 4), (6, 4), (6, 3), (5, 1), {}),
    ((2, 2, 3, 5, 4), (2, 2, 3, 6, 4), (2, 2, 3, 6, 2), (2, 1, 1, 5, 6), {}),
    ((2, 6, 5, 4), (2, 2, 6, 4), (2, 2, 6, 7), (1, 6), {"enable_gqa": True}),
    ((6, 5, 4), (2, 6, 4), (2, 6, 7), None, {"enable_gqa": True, "is_causal": True}),
    ((1, 3, 5, 4), (2, 3, 6, 4), (2, 1, 6, 7), (2, 3, 1, 6), {}),
    ((2, 1, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7), (2, 1, 5, 6), {}),
    ((0, 3, 5, 4), (0, 3, 6, 4), (0, 3, 6, 7), None, {}),
]


@pytest.mark.parametrize(("q", "k", "v", "mask", "options"), SDPA)
@pytest.mark.parametrize("kind", ["float", "bool"])
def test_scaled_dot_product_attention(q, k, v, mask, options, kind):
    given = [randn(*s, grad=True) for s in (q, k, v)]
    m = None if mask is None else randn(*mask)
    if m is not None and kind == "bool":
        m = m > -0.7
        m[..., 0] = True
    elif m is not None:
        given.append(m.requires_grad_())
    ours, theirs = (
        f.scaled_dot_product_attention(*given[:3], m, **options) for f in (functional, F)
    )
    same([ours], [theirs], given)


def test_dropout_is_torchs_generators():
    q, k, v = randn(1, 2, 60, 3), randn(1, 2, 50, 3), randn(1, 2, 50, 4)
    torch.manual_seed(4)
    a, b = (functional.scaled_dot_product_attention(q, k, v, dropout_p=0.5) for _ in range(2))
    torch.manual_seed(4)
    assert torch.equal(a, functional.scaled_dot_product_attention(q, k, v, dropout_p=0.5))
    assert not torch.equal(a, b)
    layer = nn.MultiheadAttention(6, 2, dropout=0.5).double()
    x = randn(5, 2, 6)
    for weights in (False, True):
        first, second = (layer(x, x, x, need_weights=weights)[0] for _ in range(2))
        assert not torch.equal(first, second)
        layer.eval()
        close(layer(x, x, x, need_weights=weights)[:1], layer(x, x, x)[:1])
        layer.train()


ABSENT = {"add_bias_kv": False, "add_zero_attn": False, "bias": True}
MODULES = [
    *({**ABSENT, "batch_first": b} for b in (False, True)),
    {**ABSENT, "kdim": 3, "vdim": 5},
    {"add_bias_kv": True, "add_zero_attn": True, "bias": False, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": False, "kdim": 6, "vdim": 2, "batch_first": True},
    {**ABSENT, "add_zero_attn": True},
]
MASKS = [
    *itertools.product((None, "bool", "float"), (None, "bool", "float", "heads")),
    ("causal", "causal"),
    (None, "causal"),
]


@QUIET
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("options", MODULES)
def test_multihead_attention(options, batched):
    for (padding, mask), weights in itertools.product(MASKS, (False, True)):
        torch.manual_seed(3)
        ours = nn.MultiheadAttention(6, 2, **options).double()
        torch.manual_seed(3)
        theirs = T.MultiheadAttention(6, 2, **options).double()
        assert repr(ours) == repr(theirs)
        close(ours.parameters(), theirs.parameters())
        theirs.load_state_dict(ours.state_dict())
        t = s = 4
        sizes = [(t, 6), (s, options.get("kdim", 6)), (s, options.get("vdim", 6))]
        first = options.get("batch_first", False)
        shapes = [((3, n, d) if first else (n, 3, d)) if batched else (n, d) for n, d in sizes]
        given = [randn(*shape, grad=True) for shape in shapes]
        if "kdim" not in options and mask != "heads":  # one tensor is projected once
            given = given[:1] if mask != "bool" else [given[0], given[1]]
        q, k, v = (given * 3)[:3] if len(given) != 2 else (given[0], given[1], given[1])
        hidden = torch.rand(3, s) > 0.6 if batched else torch.rand(s) > 0.6
        hidden[..., 0] = False
        left_out = torch.rand(2 * (3 if batched else 1), t, s) > 0.6
        left_out[..., 0] = False
        float_of = lambda m: torch.zeros(m.shape).double().masked_fill(m, -torch.inf)  # noqa: E731
        arguments = {
            "key_padding_mask": {None: None, "bool": hidden, "float": float_of(hidden)}.get(
                padding
            ),
            "attn_mask": {
                None: None,
                "bool": left_out[0],
                "float": randn(t, s),
                "heads": left_out,
                "causal": torch.ones(t, s, dtype=torch.bool).triu(1),
            }[mask],
            "is_causal": mask == "causal",
            "need_weights": weights,
            "average_attn_weights": padding != "bool",
        }
        inputs = list(dict.fromkeys([q, k, v]))
        pair = list(ours.parameters()), list(theirs.parameters())
        same(ours(q, k, v, **arguments), theirs(q, k, v, **arguments), inputs, pair)


LAYER = {"dim_feedforward": 7, "dropout": 0.0}


def pair(name, *arguments, **options):
    torch.manual_seed(5)
    ours = getattr(nn, name)(*arguments, **options).double()
    torch.manual_seed(5)
    theirs = getattr(T, name)(*arguments, **options).double()
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict(ours.state_dict())
    inside = {type(m).__module__.split(".")[0] for m in ours.modules()}
    kept = {type(m).__name__ for m in ours.modules() if type(m).__module__.startswith("torch")}
    assert kept <= {"ModuleList", "NonDynamicallyQuantizableLinear"}, inside
    return ours, theirs


@QUIET
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("activation", "norm_first"), [("relu", True), ("gelu", False)])
def test_transformer(batch_first, activation, norm_first):
    """In training and in evaluation, where torch takes its fused path."""
    options = {**LAYER, "batch_first": batch_first, "norm_first": norm_first}
    x, memory = randn(3, 3, 6, grad=True), randn(3, 3, 6, grad=True)
    causal = torch.ones(3, 3, dtype=torch.bool).triu(1)
    calls = {
        "TransformerEncoderLayer": ((6, 2), (x,), {"src_mask": causal, "is_causal": True}),
        "TransformerDecoderLayer": ((6, 2), (x, memory), {"tgt_mask": causal}),
        "Transformer": ((6, 2, 2, 1), (memory, x), {"tgt_mask": causal}),
    }
    for name, (arguments, inputs, masks) in calls.items():
        ours, theirs = pair(name, *arguments, activation=activation, **options)
        leaves = list(ours.parameters()), list(theirs.parameters())
        for training, o in itertools.product((True, False), ({}, masks)):
            ours.train(training), theirs.train(training)
            same([ours(*inputs, **o)], [theirs(*inputs, **o)], inputs, leaves)
            with torch.no_grad():
                close([ours(*inputs, **o)], [theirs(*inputs, **o)])
