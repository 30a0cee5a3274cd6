"""Which type stands in for which, and what a module is left alone for."""

import inspect

import torch

from bpx_torch import _convert_transformers, _functional_resampling, nn
from bpx_torch._convert_report import OWN

# what computes nothing and is walked through without a word
CONTAINERS = (
    torch.nn.Sequential,
    torch.nn.ModuleList,
    torch.nn.ModuleDict,
    torch.nn.ParameterList,
    torch.nn.ParameterDict,
)


def _table():
    """torch.nn's type -> bpx_torch.nn's, which derives from it and replaces `forward` alone."""
    found = {}
    for name, ours in vars(nn).items():
        theirs = getattr(torch.nn, name, None)
        if inspect.isclass(ours) and ours is not theirs and inspect.isclass(theirs):
            found[theirs] = ours
    return found


TABLE = _table()
BACK = {ours: theirs for theirs, ours in TABLE.items()}
OURS = frozenset(vars(nn)[name] for name in vars(nn) if inspect.isclass(vars(nn)[name]))


def refuses(module, inplace):
    """Why a module of a type in TABLE keeps its own forward, or None."""
    options = vars(module)
    if "forward" in options:
        return "its forward was replaced on the module itself"
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        plain = type(tensor) in (torch.nn.Parameter, torch.nn.Buffer, torch.Tensor)
        if not plain and not type(tensor).__module__.startswith("torch.distributed.tensor"):
            return f"it holds a {type(tensor).__name__}, which may have a forward of its own"
        if tensor.is_complex():
            return f"it holds {tensor.dtype}, and bpx is real"
    if options.get("inplace") and not inplace:
        return "inplace=True: a rule gives a new tensor; convert(..., inplace=True) takes that"
    return _setting(module, options)


def _setting(module, options):
    """A setting that the face refuses."""
    wrong = {
        "proj_size": bool(options.get("proj_size")),
        "sparse": bool(options.get("sparse")),
        "scale_grad_by_freq": bool(options.get("scale_grad_by_freq")),
        "mode": type(module) is torch.nn.Upsample
        and options.get("mode") not in _functional_resampling.MODES,
        "p": type(module) is torch.nn.TripletMarginLoss and options.get("p") != 2,
    }
    for name, refused in wrong.items():
        if refused:
            return f"{name}={options[name]!r} is not offered"
    return None


def reason(kind):
    """Why a type is not in TABLE."""
    if kind in OURS or kind.__module__ == _convert_transformers.__name__:
        return "bpx's already"
    if issubclass(kind, torch.jit.ScriptModule):
        return "compiled by torch.jit"
    if kind.__module__.startswith("torch.nn.modules.") and kind.__name__ in nn.GAPS:
        return nn.GAPS[kind.__name__]
    for base in kind.__mro__[1:]:
        if base in TABLE:
            own = ", with a forward of its own" if kind.forward is not base.forward else ""
            return f"a subclass of torch.nn.{base.__name__}{own}: only the type itself is replaced"
    return OWN


def origin(kind):
    """The type that a converted one came from."""
    return kind.__mro__[1] if kind.__module__ == _convert_transformers.__name__ else BACK[kind]
