"""What `python -m bpx bench` times of torch.nn and torch.nn.functional under bpx's names, beside
torch's own: the names, the options and the shapes that users call them with.

A face is more than its rule: it checks and reshapes, keeps running statistics, draws a mask. Small
sizes show what that costs, large ones whether it copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# bpx's time over torch's, at most.
LIMITS = {"small": 1.5, "large": 1.05}
SIZES = tuple(LIMITS)


@dataclass(frozen=True)
class Data:
    """An array for which no gradient is asked: of normal numbers, of their signs, "sign", or of
    numbers between 0 and 1, "unit"."""

    shape: tuple[int, ...]
    kind: str = "normal"


@dataclass(frozen=True)
class Labels:
    """Whole numbers from 0 to below `below`."""

    shape: tuple[int, ...]
    below: int


Input = tuple[int, ...] | Data | Labels


@dataclass(frozen=True)
class Call:
    """The inputs, a shape for one whose gradient is asked, and the options: of the call for a
    function, of the constructor for a module."""

    inputs: tuple[Input, ...]
    options: Mapping[str, Any]

    def size(self) -> str:
        """The shapes of the inputs, for a table."""
        shapes = (i if isinstance(i, tuple) else i.shape for i in self.inputs)
        return ", ".join("·".join(map(str, shape)) for shape in shapes)


def _call(*inputs: Input, **options: Any) -> Call:
    return Call(inputs, options)


def _both(small: tuple[Input, ...], large: tuple[Input, ...], **options: Any) -> tuple[Call, Call]:
    return _call(*small, **options), _call(*large, **options)


ROWS = ((64, 64),), ((4096, 1024),)
IMAGES = ((4, 16, 8, 8),), ((32, 64, 56, 56),)
LINES = ((4, 16, 64),), ((32, 64, 1024),)
PAIRS = ((64, 64), Data((64, 64))), ((4096, 1024), Data((4096, 1024)))
VECTORS = ((64, 64), (64, 64)), ((4096, 512), (4096, 512))
TRIPLES = ((64, 64),) * 3, ((4096, 512),) * 3
SHORT = ((256, 10),), ((65_536, 10),)
CLASSES = ((64, 10), Labels((64,), 10)), ((4096, 1000), Labels((4096,), 1000))
SIGNS = ((64, 64), Data((64, 64), "sign")), ((4096, 1024), Data((4096, 1024), "sign"))
CHANCES = ((64, 64), Data((64, 64), "unit")), ((4096, 1024), Data((4096, 1024), "unit"))
SEQUENCES = ((32, 64),), ((64, 512),)
HEADS = ((2, 4, 16, 16),) * 3, ((4, 8, 512, 64),) * 3
STEPS = {"batch_first": True}

ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "gelu", "silu", "mish", "hardtanh"),
    *("hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign", "logsigmoid"),
    *("softshrink", "hardshrink", "tanhshrink", "glu"),
)
POOLS = ("max_pool2d", "avg_pool2d")
DROPOUTS = ("dropout", "alpha_dropout", "feature_alpha_dropout", "dropout2d")
DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")

_CALLS: Mapping[str, tuple[Call, Call]] = {
    **{f"functional.{name}": _both(*ROWS) for name in ACTIVATIONS},
    "functional.softmax": _both(*ROWS, dim=-1),
    "functional.log_softmax": _both(*ROWS, dim=-1),
    "functional.softmax, short rows": _both(*SHORT, dim=-1),
    "functional.log_softmax, short rows": _both(*SHORT, dim=-1),
    "functional.log_softmax, images": _both(*IMAGES, dim=1),
    "functional.prelu": _both(((64, 64), (1,)), ((4096, 1024), (1,))),
    "functional.linear": _both(((64, 64), (64, 64), (64,)), ((4096, 512), (512, 512), (512,))),
    "functional.bilinear": _both(
        ((64, 16), (64, 16), (8, 16, 16)), ((1024, 64), (1024, 64), (64, 64, 64))
    ),
    **{f"functional.{name}": _both(*IMAGES, training=True) for name in DROPOUTS},
    **{f"functional.{name}": _both(*IMAGES, kernel_size=2) for name in POOLS},
    "functional.adaptive_avg_pool2d": _both(*IMAGES, output_size=1),
    "functional.interpolate": _both(*IMAGES, scale_factor=2, mode="bilinear"),
    "functional.scaled_dot_product_attention": _both(*HEADS, is_causal=True),
    "functional.embedding": _both(
        (Labels((8, 16), 100), (100, 64)), (Labels((64, 512), 32_000), (32_000, 256))
    ),
    "functional.embedding_bag": _both(
        (Labels((8, 16), 100), (100, 64)), (Labels((512, 64), 32_000), (32_000, 256))
    ),
    "functional.cross_entropy": _both(*CLASSES),
    "functional.cross_entropy, images": _both(
        ((4, 10, 8, 8), Labels((4, 8, 8), 10)), ((8, 21, 128, 128), Labels((8, 128, 128), 21))
    ),
    "functional.cross_entropy, short rows": _both(
        ((256, 10), Labels((256,), 10)), ((65_536, 10), Labels((65_536,), 10))
    ),
    "functional.nll_loss": _both(*CLASSES),
    "functional.nll_loss, images": _both(
        ((4, 10, 8, 8), Labels((4, 8, 8), 10)), ((8, 21, 128, 128), Labels((8, 128, 128), 21))
    ),
    "functional.multi_margin_loss": _both(*CLASSES),
    **{f"functional.{name}": _both(*PAIRS) for name in DISTANCES},
    "functional.binary_cross_entropy_with_logits": _both(*CHANCES),
    "functional.soft_margin_loss": _both(*SIGNS),
    "functional.hinge_embedding_loss": _both(*SIGNS),
    "functional.kl_div": _both(*CHANCES, reduction="batchmean"),
    "functional.poisson_nll_loss": _both(*CHANCES),
    "functional.cosine_similarity": _both(*VECTORS),
    "functional.triplet_margin_loss": _both(*TRIPLES),
    "nn.Linear": (
        _call((64, 64), in_features=64, out_features=64),
        _call((4096, 512), in_features=512, out_features=512),
    ),
    "nn.LayerNorm": (
        _call((64, 64), normalized_shape=64),
        _call((4096, 1024), normalized_shape=1024),
    ),
    "nn.RMSNorm": (
        _call((64, 64), normalized_shape=64),
        _call((4096, 1024), normalized_shape=1024),
    ),
    "nn.BatchNorm1d": (
        _call((64, 64), num_features=64),
        _call((4096, 1024), num_features=1024),
    ),
    "nn.BatchNorm2d": (
        _call(*IMAGES[0], num_features=16),
        _call(*IMAGES[1], num_features=64),
    ),
    "nn.BatchNorm2d, few places": (
        _call((8, 64, 4, 4), num_features=64),
        _call((32, 512, 7, 7), num_features=512),
    ),
    "nn.GroupNorm": (
        _call(*IMAGES[0], num_groups=4, num_channels=16),
        _call(*IMAGES[1], num_groups=8, num_channels=64),
    ),
    "nn.GroupNorm, few places": (
        _call((8, 64, 4, 4), num_groups=8, num_channels=64),
        _call((32, 512, 7, 7), num_groups=32, num_channels=512),
    ),
    "nn.InstanceNorm2d": (
        _call(*IMAGES[0], num_features=16),
        _call(*IMAGES[1], num_features=64),
    ),
    "nn.Conv1d": (
        _call(*LINES[0], in_channels=16, out_channels=16, kernel_size=3, padding=1),
        _call(*LINES[1], in_channels=64, out_channels=64, kernel_size=3, padding=1),
    ),
    "nn.Conv2d": (
        _call(*IMAGES[0], in_channels=16, out_channels=16, kernel_size=3, padding=1),
        _call(*IMAGES[1], in_channels=64, out_channels=64, kernel_size=3, padding=1),
    ),
    "nn.ConvTranspose2d": (
        _call(*IMAGES[0], in_channels=16, out_channels=16, kernel_size=2, stride=2),
        _call((8, 64, 28, 28), in_channels=64, out_channels=64, kernel_size=2, stride=2),
    ),
    "nn.Embedding": (
        _call(Labels((8, 16), 100), num_embeddings=100, embedding_dim=64),
        _call(Labels((64, 512), 32_000), num_embeddings=32_000, embedding_dim=256),
    ),
    **{
        f"nn.{name}": (
            _call(*SEQUENCES[0], input_size=64, hidden_size=64),
            _call(*SEQUENCES[1], input_size=512, hidden_size=512),
        )
        for name in ("RNNCell", "GRUCell", "LSTMCell")
    },
    **{
        f"nn.{name}": (
            _call((4, 16, 32), input_size=32, hidden_size=32, **STEPS),
            _call((32, 128, 128), input_size=128, hidden_size=256, num_layers=2, **STEPS),
        )
        for name in ("RNN", "GRU", "LSTM")
    },
    "nn.MultiheadAttention": (
        _call(*((4, 16, 32),) * 3, embed_dim=32, num_heads=4, **STEPS),
        _call(*((8, 256, 256),) * 3, embed_dim=256, num_heads=8, **STEPS),
    ),
    "nn.TransformerEncoderLayer": (
        _call((4, 16, 32), d_model=32, nhead=4, dim_feedforward=64, dropout=0.0, **STEPS),
        _call((8, 256, 256), d_model=256, nhead=8, dim_feedforward=1024, dropout=0.0, **STEPS),
    ),
    "nn.TransformerDecoderLayer": (
        _call(*((4, 16, 32),) * 2, d_model=32, nhead=4, dim_feedforward=64, dropout=0.0, **STEPS),
        _call(
            *((8, 128, 256),) * 2, d_model=256, nhead=8, dim_feedforward=1024, dropout=0.0, **STEPS
        ),
    ),
}

# Each name, and what of it where it is there twice, with its call at each size.
FACES: Mapping[str, Mapping[str, Call]] = {
    name: dict(zip(SIZES, calls, strict=True)) for name, calls in _CALLS.items()
}
