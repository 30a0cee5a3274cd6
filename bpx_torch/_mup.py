"""muP for torch modules. Maths and source: bpx/initializers/_mup.py."""

import math

import torch
from torch import nn

from bpx import random
from bpx.initializers._mup import mup_scale
from bpx.spec import require
from bpx_torch._initializer import drawn_key
from bpx_torch.initializers import INITIALIZERS

FIELDS = {1: "W", 2: "HW", 3: "DHW"}


def mup_(
    module,
    base,
    lr,
    *,
    optimizer="adam",
    std=1.0,
    table=3,
    weight_decay=0.0,
    layouts=None,
    generator=None,
    key=None,
):
    """Draw a module's weights as muP has them, in place. Returns parameter groups for an optimizer.

    base          the same module at the base width (on the meta device will do), or its shapes by
                  the names of the parameters
    lr            the rate at the base width; each group has its own multiple of it
    optimizer     "adam" for Adam, AdamW and all that divide by the gradient's size, or "sgd"
    std           of a weight times sqrt(fan_in); for one that is embedded, of the weight
    table         3, or 8: then a hook on each output layer multiplies what goes in, which a state
                  dict does not hold; tied weights need 8
    weight_decay  of the base width, for an optimizer that multiplies it by the rate (AdamW): a
                  group's is divided by its factor, so that the decay of a step does not shrink
    layouts       parameter name -> layout, such as "OI", for weights of other modules than Linear,
                  Conv, ConvTranspose and Embedding

    Biases beside such a weight become 0; other vectors keep their values. Groups have `params`,
    `lr`, `weight_decay` and `names`. Raises SpecError for what does not fit.
    """
    shapes = base if not isinstance(base, nn.Module) else _shapes(base)
    known = isinstance(lr, int | float) and not isinstance(lr, bool) and 0 <= lr < math.inf
    require(known, f"mup: lr is {lr!r}, expected a finite number at least 0")
    rows, first = [], {}
    for name, owner, parameter in _parameters(module):
        require(name in shapes, f"mup: base has no {name!r}, expected the names of the module")
        layout = (layouts or {}).get(name) or _layout(owner, parameter)
        require(
            layout is not None or parameter.dim() < 2,
            f"mup: {name!r} is of a {type(owner).__name__}, expected its layout in layouts",
        )
        row = mup_scale(parameter.shape, shapes[name], layout, std=std, table=table)
        tied = first.setdefault(id(parameter), name)
        require(
            tied == name or table == 8,
            f"mup: {name!r} is tied to {tied!r}, expected table=8 (the two are scaled unlike in 3)",
        )
        rows.append((name, owner, parameter, row))
    key = key if key is not None else drawn_key(generator)
    groups = {}
    for i, (name, owner, parameter, row) in enumerate(rows):
        if row.multiplier != 1:
            owner.register_forward_pre_hook(_times(row.multiplier))
        if first[id(parameter)] == name:
            _fill(parameter, owner, name, row, std, random.fold_in(key, i))
            groups.setdefault(row.rate(optimizer), []).append((name, parameter))
    return [
        {
            "params": [p for _, p in members],
            "names": [name for name, _ in members],
            "lr": lr * rate,
            "weight_decay": weight_decay / rate,
        }
        for rate, members in groups.items()
    ]


def _parameters(module):
    for prefix, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            yield f"{prefix}.{name}".lstrip("."), owner, parameter


def _shapes(module):
    return {name: tuple(p.shape) for name, _, p in _parameters(module)}


def _layout(owner, parameter):
    if parameter.dim() < 2:
        return None
    if isinstance(owner, nn.Linear):
        return "OI"
    if isinstance(owner, nn.Embedding):
        return "IO"
    if isinstance(owner, nn.modules.conv._ConvNd):
        return ("IO" if owner.transposed else "OI") + FIELDS[parameter.dim() - 2]
    return None


def _fill(parameter, owner, name, row, std, key):
    if row.std is not None:
        # one row of an embedding is its input's whole fan
        spread = std if isinstance(owner, nn.Embedding) else row.std
        INITIALIZERS["normal"].fill_(parameter, key=key, std=spread)
    elif name.rsplit(".", 1)[-1] == "bias" and getattr(owner, "weight", parameter).dim() > 1:
        with torch.no_grad():
            parameter.zero_()


def _times(multiplier):
    def scaled(module, args):
        return (args[0] * multiplier, *args[1:])

    return scaled
