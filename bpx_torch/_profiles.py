"""What a profile is for a module: option defaults, conventions its forward asks for, first values.

The tables are in bpx/profiles; `profiled` there is for functions.
"""

import functools
import re

import torch

from bpx.profiles import find, gate_rows, profiled, settings


def profiled_module(entry, respell=None, *, skip=(), keep=()):
    """Give the constructor of a module the keyword `profile`.

    keep: options that are no arguments of the constructor: the module has them as attributes of
    their name, of the profile's value or given by keyword, which its forward reads.
    """

    def decorate(cls):
        construct = profiled(entry, respell, skip=(*skip, *keep), module=True)(cls.__init__)

        @functools.wraps(construct)  # with the signature of the class it derives from
        def __init__(self, *args, profile=None, **kwargs):
            kept = {} if profile is None else settings(entry, profile, module=True)
            kept = {k: kwargs.pop(k) if k in kwargs else v for k, v in kept.items() if k in keep}
            construct(self, *args, profile=profile, **kwargs)
            vars(self).update(kept)
            if profile not in (None, "torch"):  # torch's constructor has filled them
                fill(self, entry, profile)

        cls.__init__ = __init__
        return cls

    return decorate


def fill(module, entry, profile):
    """First values of a module's parameters, drawn from torch's default generator."""
    # here, or the pages would list every module with a profile as a name of an initializer
    from bpx_torch.initializers import INITIALIZERS

    initial = find(entry, profile).initial
    for name, parameter in module.named_parameters():
        name = re.sub(r"_l\d+(_reverse)?$", "", name)  # of a layer and direction
        if name in initial:
            initializer, options = initial[name]
            INITIALIZERS[initializer].fill_(parameter, **options)
        if name == "bias_ih":
            with torch.no_grad():
                for rows, value in gate_rows(entry, profile, module.hidden_size):
                    parameter[rows] = value
    row = getattr(module, "padding_idx", None)
    if row is not None:
        module._fill_padding_idx_with_zero()
