"""The networks of the demo other than the MLP, declared: convolutional, recurrent, attentive, and
a pair of adversaries.

Activations and pools are smooth: at a kink, or where two values tie for a maximum, a rounding error
decides which way a gradient goes, and float32 curves part after a few dozen steps.
"""

from __future__ import annotations

from bpx.demo.digits import SIDE
from bpx.demo.network import Adversaries, Layer, Network, Param, linear, norm

GROUPS = 4  # of channels that are normalised together
SMALL_NORMAL = {"std": 0.05}


def cnn(sizes: tuple[int, ...], dropout: float) -> Network:
    """Three convolutions, each with group normalisation and GELU, the last two pooled; dropout;
    a linear layer. `sizes` are the channels of the convolutions and the number of classes."""
    first, second, third, classes = sizes
    flat = third * (SIDE // 4) ** 2
    layers = (
        Layer("image", "reshape", options={"shape": (1, SIDE, SIDE)}),
        *_block("1", 1, first),
        *_block("2", first, second),
        Layer("pool2", "avg_pool"),
        *_block("3", second, third),
        Layer("pool3", "avg_pool"),
        Layer("flat", "reshape", options={"shape": (flat,)}),
        Layer("dropout", "dropout", options={"p": dropout}, inputs=("flat", "keep")),
        linear("linear", flat, classes, "xavier_normal"),
    )
    return Network(layers, inputs=("x", "y", "keep"))


def _block(n: str, fan_in: int, fan_out: int) -> tuple[Layer, ...]:
    weight = Param(f"conv{n}.weight", (fan_out, fan_in, 3, 3), "kaiming_normal")
    return (
        Layer(f"conv{n}", "conv", (weight, _zeros(f"conv{n}.bias", fan_out)), {"padding": 1}),
        norm(f"norm{n}", fan_out, "group_norm", num_groups=GROUPS),
        Layer(f"gelu{n}", "gelu"),
    )


def rnn(sizes: tuple[int, ...]) -> Network:
    """An LSTM over the rows of the image, from the top; the last hidden state is classified.
    `sizes` are the units of the LSTM and the number of classes."""
    units, classes = sizes
    gates = 4 * units
    params = (
        Param("lstm.weight_ih", (gates, SIDE), "xavier_uniform"),
        Param("lstm.weight_hh", (gates, units), "orthogonal"),
        _zeros("lstm.bias_ih", gates),
        _zeros("lstm.bias_hh", gates),
    )
    layers = (
        Layer("rows", "reshape", options={"shape": (SIDE, SIDE)}),
        Layer("steps", "transpose", options={"axes": (1, 0, 2)}),
        Layer("start", "zeros", options={"axis": 1, "width": units}),
        Layer("lstm", "lstm", params, inputs=("steps", "start", "start")),
        Layer("last", "pick", options={"index": (0, -1, None, None)}),
        linear("linear", units, classes),
    )
    return Network(layers)


def transformer(vocabulary: int, sizes: tuple[int, ...]) -> Network:
    """Blocks of causal self-attention and an MLP, each added to what it was given, normalised
    before. `sizes` are the context, the width, the heads and the blocks."""
    context, width, heads, blocks = sizes
    layers: list[Layer] = [
        Layer("token", "embedding", (_small("token.weight", (vocabulary, width)),)),
        Layer("position", "add", (_small("position.weight", (1, context, width)),)),
    ]
    stream = "position"
    for n in range(1, blocks + 1):
        layers += _attention(f"{n}", stream, context, width, heads)
        layers += [
            norm(f"norm{n}b", width),
            linear(f"up{n}", width, 4 * width),
            Layer(f"gelu{n}", "gelu"),
            linear(f"down{n}", 4 * width, width),
            Layer(f"stream{n}b", "add", inputs=(f"stream{n}a", f"down{n}")),
        ]
        stream = f"stream{n}b"
    layers += [norm("norm", width), linear("logits", width, vocabulary, "xavier_normal")]
    return Network(tuple(layers))


def _attention(n: str, stream: str, context: int, width: int, heads: int) -> list[Layer]:
    each = {"shape": (context, heads, width // heads)}
    names = [f"{k}{n}" for k in ("query", "key", "value")]
    layers = [norm(f"norm{n}a", width, inputs=(stream,))]
    for name in names:
        layers += [
            linear(name, width, width, "xavier_normal", bias=False, inputs=(f"norm{n}a",)),
            Layer(f"{name}.heads", "reshape", options=each),
            Layer(f"{name}.apart", "transpose", options={"axes": (0, 2, 1, 3)}),
        ]
    return [
        *layers,
        Layer(
            f"attention{n}",
            "attention",
            options={"causal": True},
            inputs=tuple(f"{name}.apart" for name in names),
        ),
        Layer(f"attention{n}.beside", "transpose", options={"axes": (0, 2, 1, 3)}),
        Layer(f"attention{n}.joined", "reshape", options={"shape": (context, width)}),
        linear(f"out{n}", width, width, "xavier_normal"),
        Layer(f"stream{n}a", "add", inputs=(stream, f"out{n}")),
    ]


def gan(sizes: tuple[int, ...]) -> Adversaries:
    """The discriminator's loss and the generator's, in this order in every step. `sizes` are the
    numbers of the noise and the channels of the widest layer.

    A batch holds real images, noise for each of the two losses, and their labels: real and
    generated for the discriminator, real for what the generator makes."""
    noise, channels = sizes
    inputs = ("real", "noise", "more", "labels", "ones")
    both = Layer("discriminator.both", "concat", inputs=("real", "generator.image"))
    loss = "binary_cross_entropy_with_logits"
    judges = Network(
        (*_generator("noise", noise, channels), both, *_discriminator(both.name, channels)),
        loss, inputs, "labels", "discriminator.", "discriminator",
    )  # fmt: skip
    makes = Network(
        (*_generator("more", noise, channels), *_discriminator("generator.image", channels)),
        loss, inputs, "ones", "generator.", "generator",
    )  # fmt: skip
    return Adversaries((judges, makes))


def generator(sizes: tuple[int, ...]) -> Network:
    """From noise to images alone."""
    return Network(_generator("noise", *sizes), inputs=("noise",))


def discriminator(sizes: tuple[int, ...]) -> Network:
    """From images to logits alone."""
    return Network(_discriminator("image", sizes[1]), inputs=("image",))


def _generator(source: str, noise: int, channels: int) -> tuple[Layer, ...]:
    g, half, quarter = "generator", channels // 2, SIDE // 4
    shape = {"shape": (channels, quarter, quarter)}
    grouped = {"num_groups": GROUPS}
    return (
        linear(f"{g}.linear", noise, channels * quarter**2, inputs=(source,)),
        Layer(f"{g}.start", "reshape", options=shape),
        norm(f"{g}.norm1", channels, "group_norm", **grouped),
        Layer(f"{g}.gelu1", "gelu"),
        _spread(f"{g}.up1", channels, half),
        norm(f"{g}.norm2", half, "group_norm", **grouped),
        Layer(f"{g}.gelu2", "gelu"),
        _spread(f"{g}.up2", half, 1),
        Layer(f"{g}.image", "tanh"),
    )


def _spread(name: str, fan_in: int, fan_out: int) -> Layer:
    std = (2 / (fan_in * 4)) ** 0.5  # with stride 2 four of the 16 places meet in an output
    weight = Param(f"{name}.weight", (fan_in, fan_out, 4, 4), "normal", {"std": std})
    params = (weight, _zeros(f"{name}.bias", fan_out))
    return Layer(name, "conv_transpose", params, {"stride": 2, "padding": 1})


def _discriminator(source: str, channels: int) -> tuple[Layer, ...]:
    d, half, flat = "discriminator", channels // 2, channels * (SIDE // 4) ** 2
    return (
        _shrink(f"{d}.down1", 1, half, (source,)),
        Layer(f"{d}.gelu1", "gelu"),
        _shrink(f"{d}.down2", half, channels, ()),
        Layer(f"{d}.gelu2", "gelu"),
        Layer(f"{d}.flat", "reshape", options={"shape": (flat,)}),
        linear(f"{d}.linear", flat, 1, "xavier_normal"),
        Layer(f"{d}.logits", "reshape", options={"shape": ()}),
    )


def _shrink(name: str, fan_in: int, fan_out: int, inputs: tuple[str, ...]) -> Layer:
    weight = Param(f"{name}.weight", (fan_out, fan_in, 4, 4), "kaiming_normal")
    params = (weight, _zeros(f"{name}.bias", fan_out))
    return Layer(name, "conv", params, {"stride": 2, "padding": 1}, inputs)


def _zeros(name: str, width: int) -> Param:
    return Param(name, (width,), "zeros")


def _small(name: str, shape: tuple[int, ...]) -> Param:
    return Param(name, shape, "normal", SMALL_NORMAL)
