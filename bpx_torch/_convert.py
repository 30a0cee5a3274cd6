"""convert and revert: a model's modules on bpx's rules, and back."""

import fnmatch

import torch
from torch.nn.utils import parametrize

from bpx.spec import SpecError
from bpx_torch import _convert_attention, _convert_transformers, _convert_types
from bpx_torch._convert_report import Change, Left, Report, notes

# kept in the __dict__ of a converted module: copies and pickles of it can be reverted too
MARK = "_bpx_converted"


def convert(
    model,
    *,
    include=None,
    exclude=(),
    inplace=False,
    transformers=True,
    attention=False,
    loss=False,
):
    """Put a model's torch.nn modules on bpx's rules, in place, and return a Report.

    A module whose type has a counterpart in bpx_torch.nn changes its type, and nothing else: it
    stays the same object with the same parameters, buffers, hooks, mode and attributes, so that
    optimizers, tied weights and shared modules are untouched. Subclasses and modules with a setting
    that bpx_torch.nn refuses are left alone, and the report says why. What a forward written in
    the model calls through torch.nn.functional is not reached.

    model         a torch.nn.Module; converting it twice is converting it once
    include       what to convert: a type, a name pattern ("layers.*.mlp.*", as in fnmatch), or
                  several of both; None for everything
    exclude       what not to convert, in the same form; it wins over include
    inplace       convert modules with inplace=True too. They then return a new tensor and leave
                  their input as it is: wrong where the model reads that input afterwards
    transformers  convert modules of the transformers library that compute what an entry does (RMS
                  norms, GELU, SiLU, Conv1D), checked on a small input first
    attention     have models of the transformers library call bpx's attention, which keeps memory
                  linear in sequence length; its masks and results are those of "sdpa"
    loss          in training, have causal language models of the transformers library take their
                  loss from the last hidden states, by linear_cross_entropy: their output's logits
                  are then None, and were never whole in memory

    Raises SpecError where model is no module.
    """
    replaced, left, checked = [], [], {}
    for module, names in _modules("convert", model).items():
        if type(module) in _convert_types.CONTAINERS:
            continue
        kind = parametrize.type_before_parametrizations(module)
        after = _convert_types.TABLE.get(kind)
        foreign = after is None and transformers and _convert_transformers.known(kind, loss)
        if after is None and not foreign:
            why = _convert_types.reason(kind)
        elif include is not None and not _matches(kind, names, include):
            why = "not in include"
        elif _matches(kind, names, exclude):
            why = "in exclude"
        else:
            why = _convert_types.refuses(module, inplace)
            if why is None and foreign:
                after, why = _convert_transformers.counterpart(module, kind, checked)
        if why is None:
            _become(module, after)
            vars(module)[MARK] = True
            replaced.append(Change(names, kind, after))
        else:
            left.append(Left(names, kind, why))
    said = _convert_attention.attach(model) if attention else ()
    return Report(tuple(replaced), tuple(left), (*said, *notes(replaced, left)))


def revert(model):
    """Give the modules that convert changed their type back, in place, and return a Report.

    Modules that were made from bpx_torch.nn stay what they are. Raises SpecError where model is no
    module.
    """
    back = []
    for module, names in _modules("revert", model).items():
        if vars(module).pop(MARK, False):
            kind = parametrize.type_before_parametrizations(module)
            before = _convert_types.origin(kind)
            _become(module, before)
            back.append(Change(names, kind, before))
    _convert_attention.detach(model)
    return Report(tuple(back), title="given back")


def _modules(entry, model):
    """Each module once -> all its names."""
    if not isinstance(model, torch.nn.Module):
        raise SpecError(f"{entry}: model is {type(model).__name__}, expected a torch.nn.Module")
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found[module] = (*found.get(module, ()), name)
    return found


def _matches(kind, names, wanted):
    wanted = (wanted,) if isinstance(wanted, (str, type)) else tuple(wanted)
    for one in wanted:
        if isinstance(one, str):
            if any(fnmatch.fnmatchcase(name, one) for name in names):
                return True
        elif not isinstance(one, type):
            raise SpecError(
                f"convert: include or exclude holds {one!r}, expected a type or a name pattern"
            )
        elif issubclass(kind, one):
            return True
    return False


def _become(module, kind):
    """Change a module's type. A parametrized one has a type of its own, with a property for each
    parametrized tensor; deepcopy shares it between copies, so a new one is made."""
    if not parametrize.is_parametrized(module):
        module.__class__ = kind
        return
    own = {k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__")}
    module.__class__ = type(type(module).__name__, (kind,), own)
