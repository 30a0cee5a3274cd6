"""Under torch.autocast on a CPU every module gives its outputs and gradients in torch's dtypes."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn.utils.rnn import PackedSequence, pack_sequence

from bpx_torch import functional as F
from bpx_torch import nn

LOW = (torch.bfloat16, torch.float16)


def floats(*shape):
    """Between 0.1 and 0.9: probabilities, logarithms, variances and targets alike."""
    return 0.1 + 0.8 * torch.rand(shape)


def indices(high, *shape):
    return torch.randint(0, high, shape)


def signs(*shape):
    return 2.0 * torch.randint(0, 2, shape) - 1


def states(n, *shape):
    return floats(*shape) if n == 1 else tuple(floats(*shape) for _ in range(n))


def packed():
    return pack_sequence([floats(n, 4) for n in (3, 5, 2)], enforce_sorted=False)


ELEMENTWISE = """CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish
    PReLU ReLU ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink AlphaDropout
    Dropout RReLU Flatten"""
PAIRS = """BCELoss BCEWithLogitsLoss HuberLoss KLDivLoss L1Loss MSELoss PoissonNLLLoss SmoothL1Loss
    MultiLabelSoftMarginLoss"""
# module -> (its arguments, what makes its inputs), one after another
CASES = [(name, (), lambda: (floats(2, 3, 4),)) for name in ELEMENTWISE.split()]
CASES += [(name, (), lambda: (floats(3, 4), floats(3, 4))) for name in PAIRS.split()]
CASES += [(name, (1,), lambda: (floats(3, 4),)) for name in "Softmax Softmin LogSoftmax".split()]
for d in (1, 2, 3):
    space = (6, 5, 4)[:d]

    def image(channels=4, space=space):
        return (floats(2, channels, *space),)

    CASES += [
        (f"Conv{d}d", (4, 6, 3), image),
        (f"ConvTranspose{d}d", (4, 6, 3), image),
        (f"BatchNorm{d}d", (4,), image),
        (f"InstanceNorm{d}d", (4,), image),
        (f"InstanceNorm{d}d", (4, 1e-5, 0.1, True), image),
        (f"AdaptiveAvgPool{d}d", (2,), image),
        (f"AdaptiveMaxPool{d}d", (2,), image),
        (f"AvgPool{d}d", (2,), image),
        (f"MaxPool{d}d", (2,), image),
        (f"Dropout{d}d", (), image),
        ("GroupNorm", (2, 4), image),
        ("Upsample", (None, 2), image),
    ]
CASES += [
    ("Softmax2d", (), lambda: (floats(2, 3, 4, 5),)),
    ("FeatureAlphaDropout", (), lambda: (floats(2, 3, 4, 5),)),
    ("UpsamplingNearest2d", (None, 2), lambda: (floats(2, 3, 4, 5),)),
    ("UpsamplingBilinear2d", (None, 2), lambda: (floats(2, 3, 4, 5),)),
    ("Upsample", (None, 2, "linear"), lambda: (floats(2, 3, 4),)),
    ("Upsample", (None, 2, "trilinear"), lambda: (floats(2, 3, 4, 5, 3),)),
    ("Threshold", (0.3, 0.1), lambda: (floats(3, 4),)),
    ("GLU", (), lambda: (floats(3, 4),)),
    ("Linear", (4, 5), lambda: (floats(3, 4),)),
    ("Linear", (4, 5, False), lambda: (floats(3, 4),)),
    ("LayerNorm", (4,), lambda: (floats(3, 4),)),
    ("RMSNorm", (4,), lambda: (floats(3, 4),)),
    ("LayerNorm", (4, 1e-5, False), lambda: (floats(3, 4),)),
    ("RMSNorm", (4, 1e-5, False), lambda: (floats(3, 4),)),
    ("Embedding", (7, 4), lambda: (indices(7, 2, 3),)),
    ("EmbeddingBag", (7, 4, {"mode": "max"}), lambda: (indices(7, 2, 3),)),
    ("EmbeddingBag", (7, 4, {"mode": "sum"}), lambda: (indices(7, 2, 3), None, floats(2, 3))),
    ("AdaptiveLogSoftmaxWithLoss", (16, 20, [3, 8], 2.0), lambda: (floats(5, 16), indices(20, 5))),
    ("Bilinear", (4, 5, 3), lambda: (floats(2, 4), floats(2, 5))),
    ("CosineSimilarity", (), lambda: (floats(2, 4), floats(2, 4))),
    ("CosineEmbeddingLoss", (), lambda: (floats(2, 4), floats(2, 4), signs(2))),
    ("CrossEntropyLoss", (), lambda: (floats(3, 5), indices(5, 3))),
    ("CrossEntropyLoss", (), lambda: (floats(3, 5), floats(3, 5))),
    ("NLLLoss", (), lambda: (floats(3, 5), indices(5, 3))),
    ("MultiMarginLoss", (), lambda: (floats(3, 5), indices(5, 3))),
    ("GaussianNLLLoss", (), lambda: (floats(3, 4), floats(3, 4), floats(3, 4))),
    ("HingeEmbeddingLoss", (), lambda: (floats(3, 4), signs(3, 4))),
    ("SoftMarginLoss", (), lambda: (floats(3, 4), signs(3, 4))),
    ("MarginRankingLoss", (), lambda: (floats(3), floats(3), signs(3))),
    ("TripletMarginLoss", (), lambda: tuple(floats(3, 4) for _ in range(3))),
    ("TripletMarginWithDistanceLoss", (), lambda: tuple(floats(3, 4) for _ in range(3))),
    ("LinearCrossEntropyLoss", (4, 7), lambda: (floats(3, 4), indices(7, 3))),
    ("CTCLoss", (), lambda: (floats(6, 2, 5).log(), 1 + indices(4, 2, 3), [6, 5], [3, 2])),
    ("MultiheadAttention", (4, 2), lambda: tuple(floats(3, 2, 4) for _ in range(3))),
    ("TransformerEncoderLayer", (4, 2, 8), lambda: (floats(3, 2, 4),)),
    ("TransformerDecoderLayer", (4, 2, 8), lambda: (floats(3, 2, 4), floats(5, 2, 4))),
    ("Transformer", (4, 2, 1, 1, 8), lambda: (floats(3, 2, 4), floats(5, 2, 4))),
]
for name, n in (("RNN", 1), ("GRU", 1), ("LSTM", 2)):
    for bias in (True, False):
        CASES += [
            (f"{name}Cell", (4, 3, bias), lambda: (floats(2, 4),)),
            (f"{name}Cell", (4, 3, bias), lambda n=n: (floats(2, 4), states(n, 2, 3))),
        ]
    for layers, both in ((1, False), (2, True)):
        how = {"num_layers": layers, "bidirectional": both, "bias": not both}
        size = (2 * layers if both else layers, 3, 3)
        CASES += [
            (name, (4, 3, how), lambda: (floats(5, 3, 4),)),
            (name, (4, 3, how), lambda: (packed(),)),
            (name, (4, 3, how), lambda n=n, s=size: (floats(5, 3, 4), states(n, *s))),
            (name, (4, 3, how), lambda n=n, s=size: (packed(), states(n, *s))),
        ]
FUNCTIONS = {
    "conv_tbc": lambda F, x: F.conv_tbc(x, x[:, 0, :, None].expand(2, 4, 3), x[0, 0, :3]),
    "gumbel_softmax": lambda F, x: F.gumbel_softmax(x),
    "scaled_dot_product_attention": lambda F, x: F.scaled_dot_product_attention(x, x, x),
    "linear_cross_entropy": lambda F, x: F.linear_cross_entropy(x[0], x[1], torch.arange(3)),
    "max_pool3d": lambda F, x: F.max_pool3d(x[..., None].expand(2, 3, 4, 2), 2),
    "max_pool3d with places": lambda F, x: F.max_pool3d(
        x[..., None].expand(2, 3, 4, 2), 2, return_indices=True
    )[0],
    "layer_norm": lambda F, x: F.layer_norm(x, (4,)),
    "batch_norm": lambda F, x: F.batch_norm(x, None, None, training=True),
}
if torch.__version__ < "2.13":  # torch has none of its own to compare with
    CASES = [c for c in CASES if c[0] != "LinearCrossEntropyLoss"]
    del FUNCTIONS["linear_cross_entropy"]
CONTAINERS = {"TransformerEncoder", "TransformerDecoder"}  # of layers that are among the cases


def made(library, name, arguments):
    torch.manual_seed(1)
    how = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
    return getattr(library, name)(*arguments[: len(arguments) - bool(how)], **how)


def flat(v):
    if isinstance(v, torch.Tensor):
        return [v]
    if isinstance(v, PackedSequence):
        return [v.data]
    return [t for each in v or () for t in flat(each)] if isinstance(v, tuple) else []


def given(make, dtypes):
    """Inputs of one seed; the floating ones in the dtypes given, in turn."""
    torch.manual_seed(2)
    leaves = []

    def taken(v):
        if isinstance(v, PackedSequence):
            return v._replace(data=taken(v.data))
        if isinstance(v, tuple):
            return tuple(taken(t) for t in v)
        if not isinstance(v, torch.Tensor) or not v.is_floating_point():
            return v
        dtype = dtypes[min(len(leaves), len(dtypes) - 1)]
        leaves.append(v.to(dtype).requires_grad_())
        return leaves[-1]

    return tuple(taken(v) for v in make()), leaves


def dtypes_of(call, inputs, leaves, low):
    """Dtypes of the outputs, and of the gradients of `leaves`."""
    with torch.autocast("cpu", low):
        ys = flat(call(*inputs))
    total = sum(y.float().sin().sum() for y in ys)
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return [y.dtype for y in ys], [g if g is None else g.dtype for g in grads]


def of_module(library, name, arguments, make, dtypes, low):
    module = made(library, name, arguments)
    inputs, leaves = given(make, dtypes)
    return dtypes_of(module, inputs, [*leaves, *module.parameters()], low)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what it deprecates
@pytest.mark.parametrize("low", LOW, ids=str)
def test_modules(low):
    """Whatever the dtypes of the inputs; where torch itself raises, there is nothing to compare."""
    wrong, seen = [], 0
    for name, arguments, make in CASES:
        for dtypes in ((torch.float32,), (low,), (torch.float32, low), (low, torch.float32)):
            case = (name, arguments, make, dtypes, low)
            try:
                want = of_module(torch.nn, *case)
            except RuntimeError:
                continue
            seen += 1
            try:
                found = of_module(nn, *case)
            except RuntimeError as e:
                found = e
            else:  # torch has no gradient for signs, whose derivative is 0
                found = (found[0], [g and w for g, w in zip(found[1], want[1], strict=True)])
            if found != want:
                wrong.append(f"{name}{arguments} of {dtypes}: {found}, torch {want}")
    assert seen > 3 * len(CASES)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("low", LOW, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, low):
    for dtype in (torch.float32, low):
        found = []
        for library in (torch.nn.functional, F):
            torch.manual_seed(3)
            x = floats(2, 3, 4).to(dtype).requires_grad_()
            found.append(dtypes_of(lambda x, to=library: FUNCTIONS[name](to, x), (x,), [x], low))
        assert found[0] == found[1], dtype


def test_no_module_is_missing():
    """Every module that bpx_torch.nn offers in place of torch's is among the cases."""
    offered = {
        n
        for n, v in vars(torch.nn).items()
        if isinstance(v, type) and issubclass(v, torch.nn.Module) and getattr(nn, n, v) is not v
    }
    assert offered - {name for name, *_ in CASES} == CONTAINERS


def test_states_of_a_gru_stay_wide():
    """The products are of rounded numbers; the states, in float32, are not rounded between steps:
    torch's own, which rounds each product, is off by as much and no more."""
    torch.manual_seed(0)
    module = nn.GRU(4, 3)
    x = torch.randn(6, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)[0]
        theirs = torch.nn.GRU.forward(module, x)[0]
    assert y.dtype == torch.float32
    assert not torch.equal(y, y.bfloat16().float())
    rounded = torch.nn.GRU(4, 3)
    with torch.no_grad():
        for p, q in zip(rounded.parameters(), module.parameters(), strict=True):
            p.copy_(q.bfloat16())
    want = rounded(x.bfloat16().float())[0]
    torch.testing.assert_close(y, want, rtol=1e-5, atol=1e-6)
    assert (theirs - want).abs().max() > 100 * (y - want).abs().max()
