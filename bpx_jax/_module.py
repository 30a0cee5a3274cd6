"""Layers that hold no arrays: their parameters are plain nested dicts with torch's names.

    layer  = nn.Linear(4, 3)                  a frozen record of sizes: hashable, comparable
    params = layer.init(key)                  {"weight": (3, 4), "bias": (3,)}
    y      = layer.apply(params, x)

A layer that keeps statistics has a state beside its parameters, explicit in both directions:

    state    = layer.init_state()
    y, state = layer.apply(params, x, state, training=True)

What draws takes `key` by keyword. Parameter number i is drawn from fold_in(key, i), in the order of
the dict, by the initializers of bpx: a key gives the same bits in NumPy, torch and JAX. The
distributions are torch's defaults. Source of the names and defaults: torch.nn.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from bpx.profiles import find, profiled
from bpx.spec import require
from bpx_jax import random
from bpx_jax.initializers import INITIALIZERS


class Module:
    """What every layer has: the arrays `shapes` names, drawn by `initializer`."""

    def shapes(self):
        """name -> shape of every parameter, in the order they are drawn in."""
        return {}

    def initializer(self, name):
        """(entry of bpx.initializers, its options) of a parameter."""
        raise NotImplementedError(name)

    def init(self, key, dtype=None):
        """New parameters of a key (a JAX key, two uint32 words, or a seed), in JAX's default
        floating dtype unless one is given."""
        params = {}
        for i, (name, shape) in enumerate(self.shapes().items()):
            entry, options = self.initializer(name)
            part = random.fold_in(key, i)
            params[name] = INITIALIZERS[entry](part, shape, dtype, **options)
        return params

    def init_state(self, dtype=None):
        """New statistics; {} for a layer that keeps none."""
        return {}

    def call(self, params, x, key, training):
        """y of a layer that keeps no statistics."""
        raise NotImplementedError

    def step(self, params, x, state, key, training):
        """(y, new state)."""
        return self.call(params, x, key, training), state

    def apply(self, params, x, state=None, *, key=None, training=False):
        """y, or (y, new state) where a state is given."""
        y, new = self.step(params, x, state, key, training)
        return y if state is None else (y, new)


def layer(cls):
    """A module as a frozen record, which jit takes as a static argument."""
    return dataclasses.dataclass(frozen=True)(cls)


def profiled_layer(entry, respell=None, *, skip=()):
    """Give a record the keyword `profile`, a field of it where it declares one."""

    def decorate(cls):
        cls.__init__ = profiled(entry, respell, skip=skip, module=True)(cls.__init__)
        return cls

    return decorate


def first(entry, profile, name, own):
    """(entry of bpx.initializers, its options) of a parameter: the profile's, else its own."""
    given = {} if profile is None or profile == "torch" else find(entry, profile).initial
    return given.get(name, own)


def within(fan_in):
    """torch's default for weights and biases: uniform in +-1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return "uniform", {"a": -bound, "b": bound}


@dataclasses.dataclass(frozen=True, init=False)
class Sequential(Module):
    """Layers in a row, and functions of one array among them. Parameters and state are dicts by the
    place of the layer, "0", "1", ..., as in torch; layer i draws from fold_in(key, i) in `init` and
    in `apply`. Of what a recurrent layer gives, the next layer takes the sequence alone."""

    layers: tuple

    def __init__(self, *layers):
        object.__setattr__(self, "layers", layers)
        for i, each in enumerate(layers):
            require(
                callable(each) or isinstance(each, Module),
                f"sequential: layer {i} is {each!r}, expected a layer or a function",
            )

    def modules(self):
        return {str(i): m for i, m in enumerate(self.layers) if isinstance(m, Module)}

    def init(self, key, dtype=None):
        made = {n: m.init(random.fold_in(key, int(n)), dtype) for n, m in self.modules().items()}
        return {n: params for n, params in made.items() if params}

    def init_state(self, dtype=None):
        made = {n: m.init_state(dtype) for n, m in self.modules().items()}
        return {n: state for n, state in made.items() if state}

    def step(self, params, x, state, key, training):
        new = {}
        for i, each in enumerate(self.layers):
            if not isinstance(each, Module):
                x = each(x)
                continue
            part = None if key is None else random.fold_in(key, i)
            own = None if state is None else state.get(str(i), {})
            x, after = each.step(params.get(str(i), {}), x, own, part, training)
            x = x[0] if isinstance(x, tuple) else x
            if after:
                new[str(i)] = after
        return x, new


def flat(params):
    """Nested parameters as one dict by torch's dotted names, "0.weight"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {".".join(str(k.key) for k in path): leaf for path, leaf in leaves}


def nested(named, like=None):
    """The parameters of a dict by dotted names: what flat() gives, or a torch state_dict whose
    arrays are NumPy's. With `like`, parameters of the same layer, names and shapes have to agree,
    names that `like` has not raise, and the dtypes become those of `like`."""
    if like is not None:
        known = flat(like)
        require(
            set(named) == set(known),
            f"nested: names are {sorted(named)}, expected {sorted(known)}",
        )
        for name, a in named.items():
            require(
                a.shape == known[name].shape,
                f"nested: {name} has shape {a.shape}, expected {known[name].shape}",
            )
        named = {name: jnp.asarray(a, known[name].dtype) for name, a in named.items()}
    found = {}
    for name, a in named.items():
        *path, last = name.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = jnp.asarray(a)
    return found
