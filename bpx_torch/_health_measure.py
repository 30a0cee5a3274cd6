"""Statistics of tensors for bpx_torch.health, left on their device. What they are:
bpx/health/measure.py."""

import math

import torch

from bpx.health.kinds import EDGE, KINDS, SURE
from bpx.health.record import Moments, merge
from bpx_torch import _health_native as core

CLOSE = 1e-5
IRREGULAR = (1.0, 0.61, 0.37, 0.83, 0.29, 0.71, 0.47, 0.93)
# Mean squares between these are sums of squares that float32 neither overflows nor rounds to zero,
# but for terms that make no difference.
ROOM = (1e-28, 1e28)

# class name of a module -> kind; torch.nn's and bpx_torch.nn's classes have the same names
MODULES = {
    **dict.fromkeys(("Linear", "Bilinear", "Embedding", "EmbeddingBag", "LazyLinear"), "linear"),
    **{f"{c}{n}d": "linear" for c in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"{c}Norm{n}d": "norm" for c in ("Batch", "Instance") for n in (1, 2, 3)},
    **dict.fromkeys(("LayerNorm", "GroupNorm", "RMSNorm", "SyncBatchNorm"), "norm"),
    **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), "recurrent"),
    **dict.fromkeys(("ReLU", "ReLU6", "ReLUSquared"), "relu"),
    **dict.fromkeys(("Tanh",), "tanh"),
    **dict.fromkeys(("Sigmoid", "Hardsigmoid"), "sigmoid"),
    **dict.fromkeys(("Softmax", "Softmin"), "softmax"),
}
# modules whose output has its channels on axis 1
CHANNELS = (
    *("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "SyncBatchNorm"),
    *("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool"),
)
# modules that make nothing of their own
SILENT = ("Identity", "Flatten", "Unflatten", "Dropout", "AlphaDropout", "FeatureAlphaDropout")


def kind(module):
    """The kind of a module's output, by its class or one that it derives from."""
    for cls in type(module).__mro__:
        if cls.__name__ in MODULES:
            return MODULES[cls.__name__]
    if isinstance(module, torch.nn.Hardtanh) and (module.min_val, module.max_val) == (-1, 1):
        return "tanh"
    return "loss" if isinstance(module, torch.nn.modules.loss._Loss) else ""


def channels_first(module):
    """Whether a module's output has its units on axis 1; None where it leaves them where they
    were."""
    if type(module).__name__.startswith(CHANNELS):
        return True
    return False if owns(module) else None


def owns(module):
    """Whether a module has parameters of its own: module.parameters(recurse=False), without its
    search for names, which takes longer than the moments of a small layer."""
    return any(p is not None for p in module._parameters.values())


def floats(output):
    """The first floating tensor of what a module returned, or None."""
    if isinstance(output, torch.Tensor):
        strided = output.layout == torch.strided and output.is_floating_point()
        return output if strided else None
    items = output.values() if isinstance(output, dict) else output
    if isinstance(output, (tuple, list, dict)):
        return next((t for t in map(floats, items) if t is not None), None)
    return None


def wide(x):
    """x in float64, which has room for the square of any float32; mps has none."""
    return x.float() if x.device.type == "mps" else x.double()


def moments(x):
    """(count, mean, variance, how many are not finite): numbers on the CPU, elsewhere tensors on
    x's device but for the count."""
    if (found := core.moments(x)) is not None:
        return found
    x = x.detach()
    if not x.numel():
        return 0, math.nan, math.nan, 0
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if x.device.type == "cpu" and (found := quick(x)) is not None:
        return found
    # Brought to at most 1 first: float32 has no room for every square. Not torch.var_mean, which on
    # the CPU takes many times as long as these passes together.
    low, high = torch.aminmax(x)
    size = torch.maximum(-low, high)
    y = x / size.clamp(min=torch.finfo(x.dtype).tiny)
    middle = y.mean()
    variance = wide(torch.linalg.vector_norm(y - middle)).square() / x.numel()
    mean, variance = wide(middle) * wide(size), variance * wide(size).square()
    if x.device.type == "cpu" and math.isfinite(size.item()):
        return x.numel(), mean, variance, 0
    return x.numel(), mean, variance, x.numel() - x.isfinite().sum()


def quick(x):
    """The moments of values on the CPU whose squares float32 has room for, in two passes, three
    where the mean is large beside the deviations; None for others, and where one is not finite."""
    flat, n = x.reshape(-1), x.numel()
    square = torch.dot(flat, flat).item() / n
    if square == 0 and not any(end.item() for end in torch.aminmax(flat)):
        return n, 0.0, 0.0, 0
    if not ROOM[0] < square < ROOM[1]:  # false of NaN, which one value makes the sum
        return None
    mean = flat.sum().item() / n
    if mean * mean <= square / 2:
        return n, mean, square - mean * mean, 0
    rest = flat - mean
    return n, mean, max(torch.dot(rest, rest).item() / n - (rest.sum().item() / n) ** 2, 0.0), 0


def distance(new, old):
    """The norm of new - old: a number on the CPU where float32 has room for its squares."""
    change = new.detach() - old
    if change.device.type == "cpu" and change.dtype in (torch.float32, torch.float64):
        flat = change.reshape(-1)
        square = torch.dot(flat, flat).item()
        if ROOM[0] < square < ROOM[1]:
            return math.sqrt(square)
    return torch.linalg.vector_norm(wide(change))


def host(parts):
    """`Moments` of parts that `numbers` has read."""
    return merge(
        Moments(int(n), *((m, v) if not bad else (math.nan, math.nan)), int(bad))
        for n, m, v, bad in parts
    )


def numbers(tensors):
    """Every 0-d tensor of a list as a float, in one transfer for each device."""
    places = {}
    for i, t in enumerate(tensors):
        if isinstance(t, torch.Tensor):
            places.setdefault(t.device, []).append(i)
    found = list(tensors)
    for which in places.values():
        values = torch.stack([wide(tensors[i]) for i in which]).tolist()
        for i, value in zip(which, values, strict=True):
            found[i] = value
    return found


def alive(x, axis):
    """Which units have a value other than zero; None for a scalar."""
    if not x.dim():
        return None
    x, axis = x.detach(), axis % x.dim()
    rest = [i for i in range(x.dim()) if i != axis]
    if not rest or not x.numel():
        nonzero = x != 0
        return nonzero.any(dim=rest) if rest else nonzero
    # the ends of each unit: comparing every value takes ten times as long on the CPU
    return (x.amax(rest) != 0) | (x.amin(rest) != 0)


def bounds(y, kind):
    """Of a kind, as core.look takes them."""
    if KINDS[kind] is None:
        return core.NO_BOUNDS
    if kind == "softmax":
        return (y.shape[-1] if y.dim() else 1), 0.0, SURE
    low, high = KINDS[kind]
    return 0, (low + high) / 2, (high - low) / 2 * EDGE


def saturated(y, kind):
    """Share of values, or rows of a softmax, at the bounds; None for kinds without."""
    if KINDS[kind] is None or not y.numel():
        return None
    y = y.detach()
    if kind == "softmax":
        return wide(y.amax(-1) > SURE).mean()
    _, middle, half = bounds(y, kind)
    # in place and as 0 and 1 of y's dtype, which the CPU adds up faster than booleans
    return wide((y - middle).abs_().gt_(half).float().sum()) / y.numel()


def apart(weight, axis):
    """Whether a few of their weights tell all units apart, as they nearly always do."""
    if (found := core.apart(weight, axis, 10 * CLOSE)) is not None:
        return found
    n = weight.shape[axis]
    few = (weight.reshape(n, -1)[:, :8] if axis == 0 else weight.reshape(-1, n)[:8].T).float()
    # twins are neighbours by a sum of irregular coefficients, whatever weights others share
    few = few[(few @ few.new_tensor(IRREGULAR[: few.shape[1]])).argsort()]
    gaps = (few[1:] - few[:-1]).abs().amax(1)
    return bool((gaps > 10 * CLOSE * weight.abs().amax()).all())


def twins(weight, gradient):
    """Share of units with a twin; None for vectors and for one unit.

    Two sums with irregular coefficients stand for a row; twins are beside each other when sorted
    by them. That is n log n, where comparing every two rows is n².
    """
    if weight.dim() < 2 or not weight.numel():
        return None
    shares = []
    for axis in (0, weight.dim() - 1):
        n = weight.shape[axis]
        if n < 2:
            continue
        if weight.device.type == "cpu" and apart(weight.detach(), axis):
            shares.append(torch.zeros((), dtype=torch.float64))
            continue
        sums = []
        for a in (weight, gradient):
            rows = a.detach().movedim(axis, 0).reshape(n, -1)
            i = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=torch.float32)
            mix = torch.stack([torch.sin(1.3 * i * i.sqrt()), torch.cos(0.7 * i * i.sqrt())], 1)
            found = rows.float() @ mix
            sums.append(found / found.abs().amax().clamp(min=torch.finfo(torch.float32).tiny))
        sums = torch.cat(sums, 1)
        order = (sums @ sums.new_tensor([1.0, 0.61, 0.37, 0.23])).argsort()
        same = (sums[order][1:] - sums[order][:-1]).abs().amax(1) <= CLOSE
        has = torch.zeros(n, dtype=torch.bool, device=same.device)
        has[1:] |= same
        has[:-1] |= same
        shares.append(wide(has).mean())
    return torch.stack(shares).amax() if shares else None
