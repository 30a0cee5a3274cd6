"""LSUV for torch modules. The algorithm and its source: bpx/initializers/_lsuv.py."""

import math

import torch
from torch import nn

from bpx import random
from bpx.initializers._lsuv import check, usable
from bpx.spec import require
from bpx_torch._initializer import drawn_key
from bpx_torch.initializers import INITIALIZERS

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def lsuv_(module, *batch, layers=None, tol=0.1, max_steps=10, generator=None, key=None):
    """Scale a module's layers to outputs of variance 1 on a batch, in place. Returns the variance
    that each layer reached, by name, in the order in which they run.

    batch    what the module is called with
    layers   the names of the layers; without them every Linear, Conv and ConvTranspose
    tol, max_steps   as in the paper

    Weights are drawn orthonormal (axis 0 by the rest), biases become 0. The module runs in eval
    mode, without gradients, and gets its modes back: batch statistics and generators are not
    touched. Raises SpecError for a layer that does not run exactly once, for one that shares its
    weight, and where a variance is 0 or not finite.
    """
    check(tol, max_steps)
    chosen = _chosen(module, layers)
    key = key if key is not None else drawn_key(generator)
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            for i, layer in enumerate(chosen.values()):
                INITIALIZERS["orthogonal"].fill_(layer.weight, key=random.fold_in(key, i))
                if layer.bias is not None:
                    layer.bias.zero_()
            reached = {}
            for name in _order(module, batch, chosen):
                reached[name] = _scaled(name, chosen[name], module, batch, tol, max_steps)
            return reached
    finally:
        for m, training in modes.items():
            m.training = training


def _chosen(module, layers):
    named = dict(module.named_modules())
    if layers is None:
        chosen = {name: m for name, m in named.items() if isinstance(m, LAYERS)}
    else:
        for name in layers:
            known = isinstance(named.get(name), LAYERS)
            require(known, f"lsuv: {name!r} is in layers, expected the name of a Linear or Conv")
        chosen = {name: named[name] for name in layers}
    require(bool(chosen), "lsuv: the module has no Linear and no Conv, expected at least one")
    first = {}
    for name, layer in chosen.items():
        tied = first.setdefault(id(layer.weight), name)
        require(tied == name, f"lsuv: {name!r} shares its weight with {tied!r}, expected its own")
        plain = not hasattr(layer, "parametrizations")
        require(plain, f"lsuv: the weight of {name!r} is parametrized, expected a plain one")
    return chosen


def _order(module, batch, chosen):
    """The names of the layers as they run."""
    runs = []

    def note(name):
        return lambda *_: runs.append(name)

    hooks = [layer.register_forward_hook(note(name)) for name, layer in chosen.items()]
    try:
        module(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    for name in chosen:
        times = runs.count(name)
        require(times == 1, f"lsuv: {name!r} runs {times} times in a pass, expected once")
    return runs


def _scaled(name, layer, module, batch, tol, max_steps):
    v = _variance(name, layer, module, batch)
    for _ in range(max_steps):
        if abs(v - 1) <= tol:
            break
        layer.weight.div_(math.sqrt(v))
        v = _variance(name, layer, module, batch)
    return v


def _variance(name, layer, module, batch):
    found = []
    hook = layer.register_forward_hook(
        lambda _module, _args, y: found.append(y.to(torch.float64).var(correction=0).item())
    )
    try:
        module(*batch)
    finally:
        hook.remove()
    return usable(name, found[-1])
