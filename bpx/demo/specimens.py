"""Networks with a fault planted in each, and good ones, as data that bpx_torch/specimens.py and
bpx_jax/specimens.py build and train."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Op = tuple[Any, ...]

BATCH, FEATURES, CLASSES, STEPS, EVERY = 64, 16, 5, 21, 10


@dataclass(frozen=True)
class Specimen:
    """A network, how it starts and how it is trained.

    fault  what a diagnosis should say; about  what was planted
    ops    its layers in order: a name and sizes; "residual" has layers of its own
    start  how matrices begin: a gain times 1/sqrt(fan_in), with "normal"; "zero"; or a "constant"
    bias   of every layer that has one
    loss   "cross_entropy" of labels, "mse" of values, or "log": -log of the label's share
    inputs the shape of one example
    """

    name: str
    fault: str
    about: str
    ops: tuple[Op, ...]
    start: tuple[str, float] = ("normal", math.sqrt(2))
    bias: float = 0.0
    loss: str = "cross_entropy"
    lr: float = 0.1
    optimizer: str = "sgd"
    inputs: tuple[int, ...] = (FEATURES,)
    leak: bool = field(default=False)


def mlp(act: str, depth: int, width: int = 32, norm: bool = False) -> tuple[Op, ...]:
    """`depth` hidden layers, each with an activation, and a linear output."""
    ops: list[Op] = []
    for i in range(depth):
        ops.append(("linear", width if i else FEATURES, width))
        ops += [("layer_norm", width)] if norm else []
        ops.append((act,))
    return (*ops, ("linear", width, CLASSES))


def _block(d: int) -> tuple[Op, ...]:
    """A transformer block with norms inside of its residual branches."""
    attention = (("layer_norm", d), ("attention", d, 2))
    between = (("layer_norm", d), ("linear", d, 2 * d), ("relu",), ("linear", 2 * d, d))
    return ("residual", *attention), ("residual", *between)


HE, XAVIER = ("normal", math.sqrt(2)), ("normal", 1.0)
SEQUENCE, IMAGE = (40, 8), (3, 8, 8)

ALL: tuple[Specimen, ...] = (
    Specimen(
        "deep sigmoid", "vanishing", "sigmoids, 8 layers, weights of 0.3 / sqrt(n)",
        mlp("sigmoid", 8), start=("normal", 0.3),
    ),
    Specimen(
        "deep tanh", "vanishing", "tanh, 12 layers, weights of 0.3 / sqrt(n)",
        mlp("tanh", 12), start=("normal", 0.3),
    ),
    Specimen(
        "He with tanh", "exploding", "tanh, 200 layers, started by He",
        mlp("tanh", 200, 64), lr=1e-4,
    ),
    Specimen(
        "no normalisation", "exploding", "ReLU, 20 layers, weights of 3 / sqrt(n), no norm",
        mlp("relu", 20), start=("normal", 3.0), lr=1e-12,
    ),
    Specimen(
        "recurrent", "exploding", "ReLU recurrence over 40 steps, weights of 3 / sqrt(n), no clip",
        (("rnn", 8, 24), ("last",), ("linear", 24, CLASSES)),
        start=("normal", 3.0), lr=1e-12, inputs=SEQUENCE,
    ),
    Specimen(
        "rate x 100", "learning rate too high", "a good network, learning rate 30 in place of 0.3",
        mlp("relu", 3), lr=30.0,
    ),
    Specimen(
        "rate 1e-8", "learning rate too low", "a good network, learning rate 1e-8",
        mlp("relu", 3), lr=1e-8,
    ),
    Specimen(
        "zero start", "symmetric", "every weight starts at 0", mlp("tanh", 3), start=("zero", 0.0)
    ),
    Specimen(
        "constant start", "symmetric", "every weight starts at 0.1",
        mlp("sigmoid", 2), start=("constant", 0.1),
    ),
    Specimen("dead ReLU", "dead", "every bias starts at -10", mlp("relu", 3), bias=-10.0),
    Specimen(
        "large sigmoid", "saturated", "sigmoids, weights 100 times too large",
        mlp("sigmoid", 3), start=("normal", 100.0),
    ),
    Specimen(
        "large softmax", "saturated", "a softmax inside, weights 100 times too large",
        (("linear", FEATURES, 32), ("softmax",), ("linear", 32, CLASSES)),
        start=("normal", 100.0), lr=1e-3,
    ),
    Specimen(
        "log of 0", "non-finite", "the log of shares that a ReLU has made, in the loss",
        (*mlp("relu", 2), ("relu",)), loss="log", lr=1e-3,
    ),
    Specimen(
        "exp overflow", "non-finite", "an exp of values up to some hundreds",
        (("linear", FEATURES, 32), ("exp",), ("linear", 32, CLASSES)), start=("normal", 60.0),
    ),
    Specimen(
        "root of 0", "non-finite", "a square root of what a ReLU has set to 0",
        (("linear", FEATURES, 32), ("relu",), ("sqrt",), ("linear", 32, CLASSES)),
    ),
    Specimen("ReLU by He", "healthy", "ReLU, 6 layers, He", mlp("relu", 6)),
    Specimen("tanh by Xavier", "healthy", "tanh, 6 layers, Xavier", mlp("tanh", 6), start=XAVIER),
    Specimen(
        "convolutions", "healthy", "3 convolutions with batch norm and ReLU, He",
        (
            ("conv", 3, 8), ("batch_norm", 8), ("relu",),
            ("conv", 8, 8), ("batch_norm", 8), ("relu",),
            ("conv", 8, 8), ("batch_norm", 8), ("relu",),
            ("pool",), ("linear", 8, CLASSES),
        ),
        inputs=IMAGE,
    ),
    Specimen(
        "transformer", "healthy", "2 pre-norm transformer blocks, Xavier, Adam",
        (("linear", 8, 16), *_block(16), *_block(16), ("layer_norm", 16), ("last",),
         ("linear", 16, CLASSES)),
        start=XAVIER, lr=3e-3, optimizer="adam", inputs=(12, 8),
    ),
    Specimen(
        "LSTM", "healthy", "LSTM over 12 steps, layer norm, Adam",
        (("lstm", 8, 24), ("last",), ("layer_norm", 24), ("linear", 24, CLASSES)),
        start=XAVIER, lr=3e-3, optimizer="adam", inputs=(12, 8),
    ),
    Specimen(
        "leaked labels", "healthy", "the label is among the inputs: no fault of the gradients",
        mlp("relu", 3), leak=True,
    ),
)  # fmt: skip

# weights and biases of each kind of layer: name -> shape
SHAPES: dict[str, Callable[..., dict[str, tuple[int, ...]]]] = {
    "linear": lambda i, o: {"weight": (o, i), "bias": (o,)},
    "conv": lambda i, o: {"weight": (o, i, 3, 3), "bias": (o,)},
    "layer_norm": lambda d: {"weight": (d,), "bias": (d,)},
    "batch_norm": lambda d: {"weight": (d,), "bias": (d,)},
    "attention": lambda d, heads: {
        "in_proj_weight": (3 * d, d),
        "in_proj_bias": (3 * d,),
        "out_proj.weight": (d, d),
        "out_proj.bias": (d,),
    },
    "rnn": lambda i, h: _recurrent(i, h, 1),
    "lstm": lambda i, h: _recurrent(i, h, 4),
}


def _recurrent(i: int, h: int, gates: int) -> dict[str, tuple[int, ...]]:
    g = gates * h
    sizes = {"weight_ih_l0": (g, i), "weight_hh_l0": (g, h)}
    return sizes | {"bias_ih_l0": (g,), "bias_hh_l0": (g,)}


def weights(specimen: Specimen, seed: int) -> dict[str, np.ndarray]:
    """Every parameter by torch's name, float32."""
    rng = np.random.default_rng([seed, 1])
    return dict(_weights(specimen, specimen.ops, "", rng))


def _weights(specimen: Specimen, ops: tuple[Op, ...], prefix: str, rng: Any) -> Any:
    for i, (op, *sizes) in enumerate(ops):
        if op == "residual":
            yield from _weights(specimen, tuple(sizes), f"{prefix}{i}.", rng)
        for name, shape in SHAPES[op](*sizes).items() if op in SHAPES else ():
            yield f"{prefix}{i}.{name}", _start(specimen, op, name, shape, rng).astype(np.float32)


def _start(specimen: Specimen, op: str, name: str, shape: tuple[int, ...], rng: Any) -> Any:
    how, size = specimen.start
    if len(shape) == 1:
        if op.endswith("norm"):
            return np.full(shape, 1.0 if name == "weight" else 0.0)
        return np.full(shape, specimen.bias)
    if how == "normal":
        return rng.standard_normal(shape) * size / math.sqrt(math.prod(shape[1:]))
    return np.full(shape, size)


def batches(specimen: Specimen, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(inputs, labels) of every step, the labels by a random linear rule."""
    rng = np.random.default_rng([seed, 2])
    rule = rng.standard_normal((math.prod(specimen.inputs), CLASSES))
    found = []
    for _ in range(STEPS):
        x = rng.standard_normal((BATCH, *specimen.inputs)).astype(np.float32)
        labels = (x.reshape(BATCH, -1) @ rule).argmax(1).astype(np.int32)
        if specimen.leak:
            x[:, :CLASSES] = np.eye(CLASSES)[labels]
        found.append((x, labels))
    return found
