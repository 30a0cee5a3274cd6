"""equinox's side of bpx.convert: a module's layers, their settings as torch has them, its arrays.

equinox is imported by the functions that need it."""

import dataclasses

import jax
import jax.numpy as jnp

from bpx.convert import Layer
from bpx.spec import require
from bpx_jax import _interchange_trees as trees

FULL = 2**30  # batches: momentum to this power is 0, so the statistics count as settled


def _convolution(kind, m):
    axes, pads = m.num_spatial_dims, m.padding
    reach = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
    if isinstance(pads, str):
        if pads.upper() == "VALID":
            pads = [[0, 0]] * axes
        elif pads.upper() == "SAME" and tuple(m.stride) == (1,) * axes and kind == "conv":
            pads = [[r // 2, r - r // 2] for r in reach]
    else:
        pads = [[*p] for p in pads]
    found = {
        "stride": [*m.stride],
        "padding": pads,
        "dilation": [*m.dilation],
        "groups": m.groups,
        "padding_mode": m.padding_mode.lower(),
    }
    if kind == "conv_transpose":
        found["output_padding"] = [*m.output_padding]
    return Layer(kind, found)


def _batch_norm(m):
    require(
        m.mode == "batch",
        f"convert: batch_norm: mode is {m.mode!r}, expected 'batch' (the other normalises by its "
        "running statistics in training, which torch does not)",
    )
    return Layer("batch_norm", {"eps": m.eps, "momentum": 1 - m.momentum})


def _norm(kind):
    return lambda m: Layer(kind, {"eps": m.eps, "shape": [*m.shape]})


def _kinds():
    from equinox import nn

    return {
        nn.Linear: lambda m: Layer("linear"),
        nn.Conv: lambda m: _convolution("conv", m),
        nn.ConvTranspose: lambda m: _convolution("conv_transpose", m),
        nn.Embedding: lambda m: Layer("embedding", {"padding_idx": None}),
        nn.LayerNorm: _norm("layer_norm"),
        nn.RMSNorm: _norm("rms_norm"),
        nn.GroupNorm: lambda m: Layer("group_norm", {"eps": m.eps, "num_groups": m.groups}),
        nn.BatchNorm: _batch_norm,
        nn.MultiheadAttention: lambda m: Layer("attention", {"heads": m.num_heads}),
        nn.PReLU: lambda m: Layer("prelu"),
        nn.LSTMCell: lambda m: Layer("lstm_cell"),
        nn.GRUCell: lambda m: Layer("gru_cell"),
    }


def modules(model):
    """(dotted path, part) of a model and every module in it, through lists, tuples and dicts."""
    import equinox

    def walk(path, part):
        if isinstance(part, equinox.Module):
            yield ".".join(path), part
            parts = [
                (f.name, getattr(part, f.name))
                for f in dataclasses.fields(part)
                if hasattr(part, f.name)
            ]
        elif isinstance(part, (list, tuple)):
            parts = [(str(i), x) for i, x in enumerate(part)]
        elif isinstance(part, dict):
            parts = [(str(k), x) for k, x in part.items()]
        else:
            return
        for name, x in parts:
            yield from walk((*path, name), x)

    return list(walk((), model))


def layers(model):
    """path -> Layer of a model's layers."""
    kinds, found = _kinds(), {}
    for path, part in modules(model):
        make = next((kinds[k] for k in type(part).__mro__ if k in kinds), None)
        if make is not None:
            found[path] = make(part)
    return found


def arrays(model, state):
    """Dotted name -> array of a model, and of the running statistics in its State."""
    import equinox

    found = trees.named(equinox.filter(model, equinox.is_inexact_array))
    for path, part in _batch_norms(model):
        require(
            state is not None,
            f"convert: {path or 'the model'} keeps statistics, expected a state beside the model",
        )
        both = state.get(part.batch_state_index)
        count = state.get(part.batch_counter)
        # what the layer divides by in inference: 1 once momentum**count has vanished
        share = jnp.where(count == 0, 1, 1 - part.momentum**count)
        for i, a in enumerate(both):
            found[_statistic(path, i)] = jnp.where(share == 1, a, a / share.astype(a.dtype))
    return found


def replaced(model, state, new):
    """(model, state) with other arrays: all of them, of the same shapes and dtypes."""
    import equinox

    values = trees.checked(new, arrays(model, state))
    moved, rest = equinox.partition(model, equinox.is_inexact_array)
    for path, part in _batch_norms(model):
        both = tuple(values.pop(_statistic(path, i)) for i in (0, 1))
        state = state.set(part.batch_state_index, both)
        count = state.get(part.batch_counter)
        state = state.set(part.batch_counter, jnp.full_like(count, FULL))
    moved = jax.tree_util.tree_map_with_path(lambda path, _: values[trees.dotted(path)], moved)
    return equinox.combine(moved, rest), state


def _batch_norms(model):
    from equinox import nn

    return [(path, part) for path, part in modules(model) if isinstance(part, nn.BatchNorm)]


def _statistic(path, i):
    return ".".join(filter(None, (path, "batch_state_index", str(i))))
