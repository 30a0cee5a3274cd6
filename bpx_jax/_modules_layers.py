"""Linear, convolutions, embedding and dropout with parameters as plain dicts; see _module.py."""

import dataclasses
import math
from collections.abc import Sequence

from bpx.spec import require
from bpx_jax import _nn_conv, _nn_dropout
from bpx_jax._module import Module, first, layer, profiled_layer, within
from bpx_jax.layers import embedding as _embedding
from bpx_jax.layers import linear as _linear


@profiled_layer("linear")
@layer
class Linear(Module):
    """x (*N in) to (*N out): weight (out in), bias (out)."""

    in_features: int
    out_features: int
    bias: bool = True
    profile: str | None = dataclasses.field(default=None, kw_only=True)

    def shapes(self):
        weight = {"weight": (self.out_features, self.in_features)}
        return {**weight, "bias": (self.out_features,)} if self.bias else weight

    def initializer(self, name):
        return first("linear", self.profile, name, within(self.in_features))

    def call(self, params, x, key, training):
        return _linear.linear(x, params["weight"], params.get("bias"))


@profiled_layer("conv", lambda o: {"padding": o["padding"].upper() if o["padding"] else 0})
@layer
class Conv(Module):
    """x (B in *S): weight (out in/groups *W), bias (out). The number of axes is that of
    kernel_size, a tuple; padding as in bpx_jax.nn.conv."""

    in_channels: int
    out_channels: int
    kernel_size: Sequence[int]
    stride: int | Sequence[int] = 1
    padding: int | str | Sequence[int] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    bias: bool = True
    profile: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        _channels("conv", self)

    def shapes(self):
        weight = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def initializer(self, name):
        return first(
            "conv",
            self.profile,
            name,
            within(self.in_channels // self.groups * math.prod(self.kernel_size)),
        )

    def call(self, params, x, key, training):
        return _nn_conv.conv(
            x,
            params["weight"],
            params.get("bias"),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@profiled_layer("conv_transpose")
@layer
class ConvTranspose(Module):
    """x (B in *S): weight (in out/groups *W), bias (out). As in torch the fan-in of the first
    values counts the channels of y."""

    in_channels: int
    out_channels: int
    kernel_size: Sequence[int]
    stride: int | Sequence[int] = 1
    padding: int | Sequence[int] = 0
    output_padding: int | Sequence[int] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    bias: bool = True
    profile: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        _channels("conv_transpose", self)

    def shapes(self):
        weight = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    def initializer(self, name):
        return first(
            "conv_transpose",
            self.profile,
            name,
            within(self.out_channels // self.groups * math.prod(self.kernel_size)),
        )

    def call(self, params, x, key, training):
        return _nn_conv.conv_transpose(
            x,
            params["weight"],
            params.get("bias"),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@profiled_layer("embedding")
@layer
class Embedding(Module):
    """Indices (*N) to (*N D): weight (V D), standard normal; the row padding_idx is 0 and gets no
    gradient."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None
    profile: str | None = dataclasses.field(default=None, kw_only=True)

    def shapes(self):
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def initializer(self, name):
        return first("embedding", self.profile, name, ("normal", {}))

    def init(self, key, dtype=None):
        weight = super().init(key, dtype)["weight"]
        return {
            "weight": weight if self.padding_idx is None else weight.at[self.padding_idx].set(0)
        }

    def call(self, params, x, key, training):
        return _embedding.embedding(x, params["weight"], padding_idx=self.padding_idx)


@profiled_layer("dropout")
@layer
class Dropout(Module):
    """x / (1 - p) where the mask drawn from key keeps, else 0; x itself unless training. One
    decision for all along broadcast_dims."""

    p: float = 0.5
    broadcast_dims: tuple[int, ...] = ()

    def call(self, params, x, key, training):
        if not training:
            return x
        require(key is not None or self.p == 0, "dropout: key is None, expected a key in training")
        return _nn_dropout.dropout(x, key, self.p, broadcast_dims=self.broadcast_dims)


def _channels(entry, m):
    require(
        isinstance(m.kernel_size, tuple),
        f"{entry}: kernel_size is {m.kernel_size!r}, expected a tuple, one size for each axis",
    )
    for name in ("in_channels", "out_channels"):
        require(
            m.groups > 0 and getattr(m, name) % m.groups == 0,
            f"{entry}: {name} is {getattr(m, name)}, expected a multiple of groups={m.groups}",
        )
