"""The network of the demo, declared once: entries of the specification, shapes, initializers.

A framework runs it with its own table of functions by entry name; nothing here computes a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from bpx import initializers, random

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Param:
    """A parameter: its full name, and how its first values are drawn."""

    name: str
    shape: tuple[int, ...]
    initializer: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """One call of an entry: its first array is the layer before, the others are the parameters."""

    name: str
    entry: str
    params: tuple[Param, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.params)


@dataclass(frozen=True)
class Network:
    layers: tuple[Layer, ...]
    loss: str = "cross_entropy"

    @property
    def params(self) -> tuple[Param, ...]:
        return tuple(p for layer in self.layers for p in layer.params)

    @property
    def trained(self) -> tuple[Layer, ...]:
        """The layers that have parameters."""
        return tuple(layer for layer in self.layers if layer.params)

    def initial(self, key: Any, dtype: str) -> Arrays:
        """The first values, each parameter from a key of its own: the same bits everywhere."""
        return {
            p.name: initializers.sample(
                p.initializer, random.fold_in(key, i), p.shape, dtype, **p.options
            )
            for i, p in enumerate(self.params)
        }


def mlp(sizes: tuple[int, ...]) -> Network:
    """Linear layers, with layer normalisation and GELU between them."""
    layers: list[Layer] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes), 1):
        layers.append(_linear(f"linear{i}", fan_in, fan_out))
        if i < len(sizes) - 1:
            layers += [_norm(f"norm{i}", fan_out), Layer(f"gelu{i}", "gelu")]
    return Network(tuple(layers))


def _linear(name: str, fan_in: int, fan_out: int) -> Layer:
    weight = Param(f"{name}.weight", (fan_out, fan_in), "kaiming_normal")
    return Layer(name, "linear", (weight, Param(f"{name}.bias", (fan_out,), "zeros")))


def _norm(name: str, width: int) -> Layer:
    weight = Param(f"{name}.weight", (width,), "ones")
    return Layer(name, "layer_norm", (weight, Param(f"{name}.bias", (width,), "zeros")))
