"""A network of the demo, declared once: entries of the specification, shapes, initializers.

A framework runs it with its own table of functions by entry name; nothing here computes a gradient.
What joins layers (`bpx.demo.wiring`: reshape, add, ...) is a layer without a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

import bpx
from bpx import initializers, random
from bpx.demo.wiring import WIRING

Arrays = dict[str, np.ndarray[Any, Any]]
OPS = {op.name: op for op in bpx.ALL}
TRAINING_ONLY = ("dropout",)  # left out when the network is used


@dataclass(frozen=True)
class Param:
    """A parameter: its full name, and how its first values are drawn."""

    name: str
    shape: tuple[int, ...]
    initializer: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """One call of an entry or of what joins layers: its first arrays are `inputs`, by the names of
    layers or of what the network is given (() is the layer before), then come the parameters."""

    name: str
    entry: str
    params: tuple[Param, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.params)

    @property
    def wiring(self) -> bool:
        return self.entry in WIRING

    @property
    def complete(self) -> dict[str, Any]:
        """The options with the defaults of the entry."""
        given = dict(self.options)
        return given if self.wiring else OPS[self.entry].complete(given)

    def absent(self) -> tuple[None, ...]:
        """The optional arguments at the end that this layer does not have."""
        if self.wiring:
            return ()
        given = max(len(self.inputs), 1) + len(self.params)
        return (None,) * (len(OPS[self.entry].args) - given)


@dataclass(frozen=True, eq=False)  # hashed as one object: a static argument of a jitted function
class Network:
    """Layers and a loss. `inputs` names what a batch holds, in order; the first is what the first
    layer takes, `target` what the loss takes. `trains` begins the names of the parameters that this
    loss trains."""

    layers: tuple[Layer, ...]
    loss: str = "cross_entropy"
    inputs: tuple[str, ...] = ("x", "y")
    target: str = "y"
    trains: str = ""
    name: str = ""

    @property
    def parts(self) -> tuple[Network, ...]:
        return (self,)

    @property
    def params(self) -> tuple[Param, ...]:
        return tuple(p for layer in self.layers for p in layer.params)

    @property
    def trained(self) -> tuple[Layer, ...]:
        """The layers that have parameters which this loss trains."""
        return tuple(x for x in self.layers if x.params and x.name.startswith(self.trains))

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the parameters that this loss trains."""
        return tuple(name for layer in self.trained for name in layer.names)

    def initial(self, key: Any, dtype: str) -> Arrays:
        """The first values, each parameter from a key of its own: the same bits everywhere."""
        return _initial(self.params, key, dtype)

    def given(self, arrays: Iterable[Any]) -> dict[str, Any]:
        """The arrays of a batch by name; those at the end may be missing."""
        return dict(zip(self.inputs, arrays, strict=False))

    def wired(self) -> tuple[tuple[Layer, tuple[str, ...]], ...]:
        """Every layer with the names of what it takes."""
        before = (self.inputs[0], *(layer.name for layer in self.layers))
        return tuple((x, x.inputs or (b,)) for x, b in zip(self.layers, before, strict=False))

    def apply(
        self,
        call: Callable[[Layer, tuple[Any, ...]], Any],
        params: Mapping[str, Any],
        given: Mapping[str, Any],
        *,
        training: bool,
    ) -> Any:
        """The last layer's result: `call(layer, arrays)` for every layer in turn; the entries of
        TRAINING_ONLY are called in training."""
        found = dict(given)
        for layer, names in self.wired():
            if layer.entry in TRAINING_ONLY and not training:
                found[layer.name] = found[names[0]]
            else:
                arrays = (*(found[n] for n in names), *(params[n] for n in layer.names))
                found[layer.name] = call(layer, (*arrays, *layer.absent()))
        return found[self.layers[-1].name]

    def loss_absent(self) -> tuple[None, ...]:
        """The optional arguments of the loss."""
        return (None,) * (len(OPS[self.loss].args) - 2)


@dataclass(frozen=True, eq=False)
class Adversaries:
    """Networks that share parameters and are trained one after another in every step."""

    parts: tuple[Network, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer once, where it is trained."""
        return tuple(
            x for part in self.parts for x in part.layers if x.name.startswith(part.trains)
        )

    @property
    def loss(self) -> str:
        return self.parts[0].loss

    @property
    def params(self) -> tuple[Param, ...]:
        return tuple(p for layer in self.layers for p in layer.params)

    @property
    def trained(self) -> tuple[Layer, ...]:
        return tuple(layer for part in self.parts for layer in part.trained)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.parts[0].inputs

    def initial(self, key: Any, dtype: str) -> Arrays:
        return _initial(self.params, key, dtype)


def _initial(params: tuple[Param, ...], key: Any, dtype: str) -> Arrays:
    return {
        p.name: initializers.sample(
            p.initializer, random.fold_in(key, i), p.shape, dtype, **p.options
        )
        for i, p in enumerate(params)
    }


def mlp(sizes: tuple[int, ...]) -> Network:
    """Linear layers, with layer normalisation and GELU between them."""
    layers: list[Layer] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes), 1):
        layers.append(linear(f"linear{i}", fan_in, fan_out))
        if i < len(sizes) - 1:
            layers += [norm(f"norm{i}", fan_out), Layer(f"gelu{i}", "gelu")]
    return Network(tuple(layers))


def linear(
    name: str,
    fan_in: int,
    fan_out: int,
    initializer: str = "kaiming_normal",
    bias: bool = True,
    inputs: tuple[str, ...] = (),
) -> Layer:
    weight = Param(f"{name}.weight", (fan_out, fan_in), initializer)
    both = (weight, Param(f"{name}.bias", (fan_out,), "zeros"))
    return Layer(name, "linear", both if bias else (weight,), inputs=inputs)


def norm(
    name: str, width: int, entry: str = "layer_norm", inputs: Any = (), **options: Any
) -> Layer:
    weight = Param(f"{name}.weight", (width,), "ones")
    both = (weight, Param(f"{name}.bias", (width,), "zeros"))
    return Layer(name, entry, both, options, inputs)
