"""What the incoming gradient is multiplied by, denominators, ignored and repeated indices."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bpx.verify import Float, Index
from bpx.verify.zoo import Plant
from bpx_torch.zoo._rule import function

IGNORE = -9


def cube(x):
    return x * x * x


def mean_square(x):
    return (x * x).mean()


def _keep(t):
    return (t != IGNORE)[:, None]


def none(x, t):
    """A loss for every row."""
    return F.cross_entropy(x, t, reduction="none", ignore_index=IGNORE)


def mean(x, t):
    """Mean over the rows that count; 0 where none does."""
    return none(x, t).sum() / (t != IGNORE).sum().clamp(min=1)


def smooth(x, t):
    losses = F.cross_entropy(x, t, reduction="none", ignore_index=IGNORE, label_smoothing=0.3)
    return losses.sum() / (t != IGNORE).sum().clamp(min=1)


def _rows(x, t):
    """softmax - one-hot, without a look at what is ignored."""
    hot = F.one_hot(t.clamp(min=0), x.shape[1]).to(x.dtype)
    return torch.softmax(x, 1) - hot


def mean_right(g, x, t):
    return g * _rows(x, t) * _keep(t) / (t != IGNORE).sum().clamp(min=1), None


def _smooth_rows(x, t):
    hot = F.one_hot(t.clamp(min=0), x.shape[1]).to(x.dtype)
    return torch.softmax(x, 1) - (0.7 * hot + 0.3 / x.shape[1])


def smooth_right(g, x, t):
    return g * _smooth_rows(x, t) * _keep(t) / (t != IGNORE).sum().clamp(min=1), None


def _smooth_ignored(g, x, t):
    """The smooth part of ignored rows counts too."""
    even = torch.softmax(x, 1) - 1 / x.shape[1]
    rows = torch.where(_keep(t), _smooth_rows(x, t), 0.3 * even)
    return g * rows / (t != IGNORE).sum().clamp(min=1), None


def none_right(g, x, t):
    return g[:, None] * _rows(x, t) * _keep(t), None


def _first_zeroed(g, x, t):
    """The upstream of the first row is zeroed for all where that row is ignored."""
    rows = g[:, None] * _rows(x, t) * _keep(t)
    return rows * (t[0] != IGNORE) if t.numel() else rows, None


def taken(t, w):
    return w[t]


def taken_right(g, t, w):
    dw = torch.zeros(w.shape, dtype=torch.float64 if w.dtype == torch.float64 else torch.float32)
    return None, dw.index_add(0, t, g.to(dw.dtype)).to(w.dtype)


def _overwritten(g, t, w):
    dw = torch.zeros_like(w)
    dw[t] = g
    return None, dw


def _in_half(g, t, w):
    """One row after the other in the dtype of the weights."""
    dw = torch.zeros_like(w)
    if w.dtype == torch.float64:
        return None, dw.index_add(0, t, g)
    for i, row in zip(t.tolist(), g, strict=True):
        dw[i] += row
    return None, dw


def by_count(g, t, w):
    """The gradient of a row over how often its index is met: a definition, no derivative."""
    counts = torch.bincount(t, minlength=w.shape[0])
    return None, torch.zeros_like(w).index_add(0, t, g / counts[t][:, None])


def _by_place(g, t, w):
    """The count of another index: the one that stands for the place in the batch."""
    counts = torch.bincount(t, minlength=max(w.shape[0], t.numel()))
    own = counts[torch.arange(t.numel())].clamp(min=1)
    return None, torch.zeros_like(w).index_add(0, t, g / own[:, None])


CLASSES = [Float("N", "V"), Index("N", below="V", ignore=IGNORE)]
TABLE = [Index("N", below="V"), Float("V", "D")]
LOUD = {"sizes": {"V": (5, 4, 6)}, "vmap": False}
PLANTS = (
    Plant(22, "all rows multiplied by the first incoming gradient", ("vjp", "cotangent"),
          function(none, none_right, 2, generate_vmap_rule=False),
          function(none, lambda g, x, t: (g[:1, None] * _rows(x, t) * _keep(t), None), 2),
          CLASSES, none, LOUD),
    Plant(23, "upstream zeroed by an ignored first row", ("value", "options"),
          function(none, none_right, 2), function(none, _first_zeroed, 2), CLASSES, none, LOUD),
    Plant(25, "the incoming gradient of a scalar is left out", ("cotangent", "linear"),
          function(mean_square, lambda g, x: g * 2 * x / x.numel()),
          function(mean_square, lambda g, x: 2 * x / x.numel()), [Float("N", "D")], mean_square),
    Plant(26, "label smoothing counts ignored rows", ("value",), function(smooth, smooth_right, 2),
          function(smooth, _smooth_ignored, 2), CLASSES, smooth, LOUD),
    Plant(28, "mean over all rows, ignored ones too", ("value",), function(mean, mean_right, 2),
          function(mean, lambda g, x, t: (g * _rows(x, t) * _keep(t) / t.numel(), None), 2),
          CLASSES, mean, LOUD),
    Plant(29, "0 / 0 where every row is ignored", ("value",), function(mean, mean_right, 2),
          function(mean, lambda g, x, t: (g * _rows(x, t) * _keep(t) / (t != IGNORE).sum(), None),
                   2), CLASSES, mean, LOUD),
    Plant(31, "divided by the count of another index", ("vjp", "value"),
          function(taken, by_count, 2), function(taken, _by_place, 2), TABLE, taken,
          {"surrogate": by_count, "vmap": False, "sizes": {"V": (5, 4, 6)}}),
    Plant(32, "repeated indices overwrite", ("value",), function(taken, taken_right, 2),
          function(taken, _overwritten, 2), TABLE, taken, {"vmap": False}),
    Plant(58, "embedding gradient accumulated in half precision", ("dtype",),
          function(taken, taken_right, 2), function(taken, _in_half, 2),
          [Index("N", below=2), Float(2, 3)], taken, {"vmap": False}),
)  # fmt: skip
