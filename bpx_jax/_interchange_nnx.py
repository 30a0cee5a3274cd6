"""flax.nnx's side of bpx.convert: a module's layers, their settings as torch has them, its arrays.

flax is imported by the functions that need it."""

import jax.numpy as jnp

from bpx.convert import Layer, compare
from bpx.spec import require


def _each(value, axes):
    return [1] * axes if value is None else [value] * axes if isinstance(value, int) else [*value]


def _pairs(padding, axes):
    if isinstance(padding, int):
        return [[padding, padding]] * axes
    return [[p, p] if isinstance(p, int) else [*p] for p in padding]


def _conv(m):
    axes = len(m.kernel_size)
    stride, dilation = _each(m.strides, axes), _each(m.kernel_dilation, axes)
    mode, pads = "zeros", m.padding
    if isinstance(pads, str):
        name, totals = (
            pads.upper(),
            [d * (k - 1) for d, k in zip(dilation, m.kernel_size, strict=True)],
        )
        if name == "VALID":
            pads = [[0, 0]] * axes
        elif name == "SAME" and stride == [1] * axes:
            pads = [[t // 2, t - t // 2] for t in totals]
        elif name == "CIRCULAR":
            mode, pads = "circular", [[t // 2, t - t // 2] for t in totals]
    else:
        pads = _pairs(pads, axes)
    return Layer(
        "conv",
        {
            "stride": stride,
            "padding": pads,
            "dilation": dilation,
            "groups": m.feature_group_count,
            "padding_mode": mode,
        },
    )


def _conv_transpose(m):
    """flax's padding is of the input, d (k - 1) - p of torch's; what is more at the end is torch's
    output_padding."""
    axes = len(m.kernel_size)
    stride, dilation = _each(m.strides, axes), _each(m.kernel_dilation, axes)
    pads, mode = m.padding, "zeros"
    reach = [d * (k - 1) for d, k in zip(dilation, m.kernel_size, strict=True)]
    if isinstance(pads, str):
        mode, name = "circular" if pads.upper() == "CIRCULAR" else "zeros", pads.upper()
        pads = []
        for r, s in zip(reach, stride, strict=True):
            total = r + s - 1 + (max(r + 1 - s, 0) if name != "SAME" else 0)
            low = r if name != "SAME" else s - 1 if s > r else -(-total // 2)
            pads.append([low, total - low])
    else:
        pads = _pairs(pads, axes)
    return Layer(
        "conv_transpose",
        {
            "stride": stride,
            "padding": [[r - low] * 2 for r, (low, _) in zip(reach, pads, strict=True)],
            "output_padding": [high - low for low, high in pads],
            "dilation": dilation,
            "groups": 1,
            "padding_mode": mode,
        },
    )


def _last(axes):
    return axes in (-1, (-1,), [-1])


def _norm(kind):
    def of(m):
        require(
            _last(m.reduction_axes) and _last(m.feature_axes),
            f"convert: {kind}: reduction_axes is {m.reduction_axes}, expected -1 (as in torch)",
        )
        return Layer(kind, {"eps": m.epsilon, "shape": [m.num_features]})

    return of


def _instance_norm(m):
    require(
        _last(m.feature_axes),
        f"convert: instance_norm: feature_axes is {m.feature_axes}, expected -1 (as in torch)",
    )
    return Layer("instance_norm", {"eps": m.epsilon})


def _batch_norm(m):
    require(
        _last(m.axis), f"convert: batch_norm: axis is {m.axis}, expected -1 (flax's own, the last)"
    )
    return Layer("batch_norm", {"eps": m.epsilon, "momentum": 1 - m.momentum})


def _attention(m):
    require(
        not m.normalize_qk and m.num_kv_heads == m.num_heads,
        "convert: attention: normalize_qk or num_kv_heads is set, expected neither of them (torch "
        "has none)",
    )
    return Layer("attention", {"heads": m.num_heads})


def _equal(f, values):
    """Whether a function has these values at -1 and 3: flax keeps functions, torch names."""
    return all(abs(float(f(x)) - y) < 1e-6 for x, y in zip((-1.0, 3.0), values, strict=True))


TANH = (-0.7615941559557649, 0.9950547536867305)
SIGMOID = (0.2689414213699951, 0.9525741268224334)


def _gated(kind):
    def of(m):
        require(
            _equal(m.gate_fn, SIGMOID) and _equal(m.activation_fn, TANH),
            f"convert: {kind}: gate_fn or activation_fn is another function, expected sigmoid and "
            "tanh (as in torch)",
        )
        return Layer(kind)

    return of


def _simple(m):
    require(not m.residual, "convert: rnn: residual is True, expected False (torch has none)")
    kind = "tanh" if _equal(m.activation_fn, TANH) else "another function"
    return Layer(
        "rnn_cell", {"nonlinearity": "relu" if _equal(m.activation_fn, (0.0, 3.0)) else kind}
    )


def _order(m):
    """What nnx.RNN and nnx.Bidirectional do with a sequence, where torch has one way."""
    require(
        not getattr(m, "reverse", False),
        "convert: RNN: reverse is True, expected False (torch's one direction is forward)",
    )
    if hasattr(m, "merge_fn"):
        both = m.merge_fn(jnp.ones(1), jnp.zeros(1))
        require(
            both.shape == (2,) and float(both[0]) == 1,
            "convert: Bidirectional: merge_fn is another function, expected the concatenation",
        )


def layers(module):
    """(path -> Layer, path -> which of flax's two ways) of a module's layers."""
    from flax import nnx

    kinds = {
        nnx.Linear: lambda m: Layer("linear"),
        nnx.Conv: _conv,
        nnx.ConvTranspose: _conv_transpose,
        nnx.Embed: lambda m: Layer("embedding", {"padding_idx": None}),
        nnx.LayerNorm: _norm("layer_norm"),
        nnx.RMSNorm: _norm("rms_norm"),
        nnx.GroupNorm: lambda m: Layer(
            "group_norm", {"eps": m.epsilon, "num_groups": m.num_groups}
        ),
        nnx.InstanceNorm: _instance_norm,
        nnx.BatchNorm: _batch_norm,
        nnx.MultiHeadAttention: _attention,
        nnx.PReLU: lambda m: Layer("prelu"),
        nnx.LSTMCell: _gated("lstm_cell"),
        nnx.OptimizedLSTMCell: _gated("lstm_cell"),
        nnx.GRUCell: _gated("gru_cell"),
        nnx.SimpleCell: _simple,
    }
    found, forms = {}, {}
    for path, part in nnx.iter_modules(module):
        make = next((kinds[k] for k in type(part).__mro__ if k in kinds), None)
        if isinstance(part, (nnx.RNN, nnx.Bidirectional)):
            _order(part)
        if make is None:
            continue
        require(
            getattr(part, "mask", None) is None,
            f"convert: {'.'.join(map(str, path))}: mask is set, expected None (torch has none)",
        )
        at = ".".join(map(str, path))
        found[at] = make(part)
        if isinstance(part, nnx.LSTMCell):
            forms[at] = "separate"
        if isinstance(part, nnx.ConvTranspose) and part.transpose_kernel:
            forms[at] = "transpose_kernel"
    return found, forms


def forms_of(structure, module, names=None):
    """Which of two ways each layer of the module goes. Raises SpecError for a layer that is missing
    or computes something else than torch's."""
    found, forms = layers(module)
    compare("nnx", structure, found, names)
    return forms


def variables(module):
    """Dotted name -> the variable that holds an array: parameters and statistics, not the state of
    random numbers or caches."""
    from flax import nnx

    state = nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
    names = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]
    return {n: _at(module, n) for n in names}


def _at(module, name):
    for word in name.split("."):
        if word.isdigit() and not hasattr(module, word):
            module = module[int(word)]
        else:
            module = getattr(module, word) if hasattr(module, word) else module[word]
    return module
