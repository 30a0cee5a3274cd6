"""A torch model and its optimizer as NumPy arrays, and back: torch's side of bpx.convert.

>>> import tempfile
>>> from bpx import convert
>>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
>>> file = tempfile.mkdtemp() + "/model.safetensors"
>>> convert.save(file, convert.Run(weights(model)), layout="nnx")
>>> load_weights(model, convert.load(file).weights)

`bpx_torch.convert` is something else: it changes a model's modules, not its arrays. Everything is
checked before anything is written.
"""

import numpy as np
import torch

from bpx.convert import METHODS, Form, Group, OptimizerState, Structure, Weights
from bpx.convert._arrays import BFLOAT16, name_of
from bpx.convert.methods import method
from bpx.convert.structure import same_arrays, same_names
from bpx.spec import SpecError, require
from bpx_torch import _interchange_lbfgs as _lbfgs
from bpx_torch._interchange_layers import layers

__all__ = ["load_optimizer_state", "load_weights", "optimizer_state", "structure", "weights"]


def _numpy(name, tensor):
    """A copy of a tensor's values; bfloat16 as its bits."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view("<u2").view(BFLOAT16).copy()
    try:
        found = np.array(tensor.numpy())
    except TypeError:
        raise SpecError(
            f"convert: {name} has dtype {tensor.dtype}, expected a number of 64 bits at most, "
            "a bool or bfloat16"
        ) from None
    name_of(name, found)
    return found


def _tensor(a):
    if a.dtype == BFLOAT16:
        bits = np.ascontiguousarray(a).view("<i2").reshape(a.shape)
        return torch.from_numpy(bits.copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(a, order="C"))


def _described(model):
    """(structure, the tensors it names)."""
    require(
        isinstance(model, torch.nn.Module),
        f"convert: model is {type(model).__name__}, expected a torch.nn.Module",
    )
    known = layers(model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    tensors, arrays, tied, first = {}, {}, {}, {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        require(
            isinstance(tensor, torch.Tensor),
            f"convert: {name} is {type(tensor).__name__}, expected a tensor",
        )
        before = first.setdefault(id(tensor), name)
        if before != name:
            tied[name] = before
            continue
        count = name.endswith("num_batches_tracked")
        role = "count" if count else "parameter" if name in parameters else "buffer"
        a = _numpy(name, tensor)
        arrays[name] = Form(name_of(name, a), tuple(a.shape), role)
        tensors[name] = tensor
    return Structure(known, arrays, tied), tensors


def structure(model):
    """The layers of a model, the dtype and shape of its arrays, and what is tied.

    Raises SpecError for what no other layout can have: parametrized weights, projections in an
    LSTM, a bias of keys."""
    return _described(model)[0]


def weights(model):
    """The parameters and persistent buffers of a model, copied, with its structure.

    Raises SpecError as `structure`, and for complex and other dtypes that have no counterpart."""
    described, tensors = _described(model)
    return Weights(described, {name: _numpy(name, t) for name, t in tensors.items()})


def load_weights(model, new):
    """Write arrays into a model: parameters and buffers stay the same objects.

    new     a bpx.convert.Weights of a model of the same layers; counters that it lacks are left

    Raises SpecError, before anything is written, for a missing, surplus or tied name, another
    shape or dtype, and a layer with another setting."""
    described, tensors = _described(model)
    same_arrays("convert", new.arrays, described)
    given, own = new.structure.layers, described.layers
    same_names("convert", given, set(own))
    for path, layer in own.items():
        require(
            given[path].kind == layer.kind and dict(given[path].settings) == dict(layer.settings),
            f"convert: {path or 'the model'} is {layer.kind} {dict(layer.settings)}, expected "
            f"{given[path].kind} {dict(given[path].settings)}",
        )
    tied = dict(new.structure.tied)
    require(
        tied == dict(described.tied),
        f"convert: the model ties {dict(described.tied)}, expected {tied}",
    )
    values = {name: _tensor(a) for name, a in new.arrays.items()}
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].copy_(value)


def _class(optimizer):
    for kind in type(optimizer).__mro__:
        if kind.__name__ in METHODS:
            return kind.__name__
    method(type(optimizer).__name__)  # raises, with the reason
    raise AssertionError


def _names(optimizer, tensors):
    """The names of the parameters of each group."""
    known = {id(t): name for name, t in tensors.items()}
    groups = []
    for i, group in enumerate(optimizer.param_groups):
        for j, p in enumerate(group["params"]):
            require(
                id(p) in known,
                f"convert: parameter {j} of group {i} is not in the model, expected one of it",
            )
        groups.append(tuple(known[id(p)] for p in group["params"]))
    return groups


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.item()
    return [_plain(x) for x in value] if isinstance(value, (tuple, list)) else value


def optimizer_state(optimizer, model):
    """The state of an optimizer by the names of a model's parameters, copied: a
    bpx.convert.OptimizerState.

    optimizer   of torch.optim or bpx_torch.optim

    Raises SpecError for a method whose state does not pass to optax, with the reason; for a
    parameter that is not in the model; and where some parameters have had no gradient yet."""
    name = _class(optimizer)
    described, tensors = _described(model)
    names = _names(optimizer, tensors)
    groups = tuple(
        Group(own, {k: _plain(v) for k, v in g.items() if k not in ("params", "param_names")})
        for own, g in zip(names, optimizer.param_groups, strict=True)
    )
    if name == "LBFGS":
        slots, steps = _lbfgs.read(optimizer, {n: tensors[n] for n in names[0]}, _numpy)
        found = OptimizerState(name, groups, steps, slots)
        found.check(described)
        return found
    states = {n: optimizer.state.get(tensors[n], {}) for own in names for n in own}
    held = {n: {k: v for k, v in s.items() if v is not None} for n, s in states.items()}
    behind = sorted(n for n, s in held.items() if not s)
    require(
        not behind or len(behind) == len(held) or name == "SGD",
        f"convert: {name}: {behind[:1]} has no state and others have, expected all or none (leave "
        "out of the optimizer what has no gradient)",
    )
    steps = {n: int(_plain(s["step"])) for n, s in held.items() if "step" in s}
    slots, numbers = {}, method(name).numbers
    for n, state in held.items():
        for key, value in state.items():
            if key in numbers:
                _follows(name, key, _plain(value), numbers[key], groups, n, steps[n])
            elif key != "step":
                slots.setdefault(key, {})[n] = _numpy(f"{key} of {n}", value)
    found = OptimizerState(name, groups, steps, slots)
    found.check(described)
    return found


def _follows(name, key, value, number, groups, n, step):
    """Raises SpecError where a single number is not what options and steps make of it: those of a
    run whose options have changed on the way are not carried."""
    options = next(g.options for g in groups if n in g.names)
    want = number(options, step)
    require(
        abs(value - want) <= 1e-6 * (step + 1) * abs(want) + 1e-30,
        f"convert: {name}: {key} of {n} is {value!r}, expected {want!r} of these options",
    )


def _state_of(new, name, device):
    return {k: _tensor(a[name]).to(device) for k, a in new.slots.items() if name in a}


def load_optimizer_state(optimizer, model, new):
    """Write a state into an optimizer over a model's parameters. As with load_state_dict, the
    options of its groups become those of the state.

    new     a bpx.convert.OptimizerState with the same groups; for LBFGS the model holds its weights
            already

    Raises SpecError, before anything is written, for another method, other groups, and arrays that
    fit no parameter."""
    name = _class(optimizer)
    require(new.name == name, f"convert: the state is of {new.name}, expected {name}")
    described, tensors = _described(model)
    new.check(described)
    names, given = _names(optimizer, tensors), [g.names for g in new.groups]
    require(
        [set(n) for n in names] == [set(n) for n in given],
        f"convert: {name}: the groups hold {given}, expected {names}",
    )
    if name == "LBFGS":  # one state for all, without a step of each
        own = {n: tensors[n] for n in names[0]}
        states, steps = {names[0][0]: _lbfgs.state_of(new, own, _tensor)}, {}
    else:
        states, steps = {n: _state_of(new, n, tensors[n].device) for n in new.names()}, new.steps
    numbers = method(name).numbers
    for group, given_group, own in zip(optimizer.param_groups, new.groups, names, strict=True):
        on_device = group.get("capturable") or group.get("fused")
        for n in own:
            if n in steps:
                device = tensors[n].device if on_device else "cpu"
                step = torch.tensor(float(steps[n]), dtype=torch.float32, device=device)
                states[n] = {"step": step, **states[n]}
                for key, number in numbers.items():
                    value = number(given_group.options, steps[n])
                    dtype = tensors[n].dtype if tensors[n].dtype == torch.float64 else torch.float32
                    states[n][key] = torch.tensor(value, dtype=dtype, device=device)
        for key, value in given_group.options.items():
            if key in group and not isinstance(group[key], torch.Tensor):
                group[key] = tuple(value) if isinstance(group[key], tuple) else value
            elif key in group:
                group[key].fill_(value)
    for n, state in states.items():
        optimizer.state[tensors[n]] = state
