"""group_norm, instance_norm and batch_norm on a GPU, in Triton: sums along lines, then one pass.

x (B C *S) is read as lines of S places, one for each channel of each sample; with the channels
behind (`by_rows`) a line is a channel and its places are the rows. A set is what has one mean: some
neighbouring lines of a sample, or the lines of a channel in all samples. Each program adds up a
part of some lines in float32 (float64 for float64 x); torch joins the parts. No atomics.
"""

import torch
import triton
import triton.language as tl

from bpx_torch._dtype import inverse_root
from bpx_torch.kernels import _opaque
from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._lines import each_kernel, moments_kernel, sums_kernel
from bpx_torch.kernels.triton._rows import (
    present,
    programs,
    refuses_types,
    statistic,
)

TILE = 2048  # elements that a program has at once
NAMES = ("x", "weight", "bias", "running_mean", "running_var")
STRIP = 64  # channels of a tile, where they lie behind


class Lines:
    """x as lines, and the sets that they form: `groups` in each sample, or None for one to each
    channel."""

    def __init__(self, x, groups, by_rows=False):
        self.x, self.groups, self.by_rows = x, groups, by_rows
        self.statistic = statistic(x)
        self.channels = x.shape[1]
        self.samples = 1 if by_rows else x.shape[0]
        self.lines = self.samples * self.channels
        self.places = x.numel() // self.lines
        each = 1 if groups is None else self.channels // groups
        self.sets = (self.channels, groups or 0, each)
        self.shared = x.numel() // (self.channels if groups is None else x.shape[0] * groups)
        wide = min(triton.next_power_of_2(self.places), TILE)
        tall = max(TILE // wide, 1)
        if by_rows:
            tall = min(triton.next_power_of_2(self.lines), STRIP)
            wide = min(triton.next_power_of_2(self.places), TILE // tall)
        tall = min(tall, triton.next_power_of_2(self.lines))
        self.known = {
            "BY_ROWS": by_rows,
            "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
            "LINES": tall,
            "BLOCK": wide,
            "num_warps": min(max(tall * wide // 512, 1), 4),
        }
        across = triton.cdiv(self.lines, tall)
        parts = min(max(programs(x) // across, 1), triton.cdiv(self.places, 4 * wide))
        self.chunk = triton.cdiv(triton.cdiv(self.places, parts), wide) * wide
        self.parts = triton.cdiv(self.places, self.chunk)
        self.across, self.along = across, triton.cdiv(self.places, wide)

    def _sums(self, kernel, *given):
        """Two sums over each part of each line, (samples, channels, parts)."""
        shape = (2, self.samples, self.channels, self.parts)
        found = self.x.new_empty(shape, dtype=self.statistic)
        *arrays, sizes = given
        _launch.run(
            kernel, (self.across, self.parts), self.x, *arrays, *found, self.lines, self.places,
            self.chunk, *sizes, **self.known,
        )  # fmt: skip
        return found

    def _over_sets(self, v):
        """v (samples, channels, ...) as (sets, what they consist of)."""
        if self.groups is None:
            return v.movedim(1, 0).flatten(1)
        return v.reshape(self.samples * self.groups, -1)

    def moments(self):
        """(mean, biased variance) of each set."""
        total, square = self._sums(moments_kernel, self.x, ())
        counts = torch.full_like(total, self.chunk)
        counts[..., -1] = self.places - (self.parts - 1) * self.chunk
        total, square, counts = map(self._over_sets, (total, square, counts))
        mean = total.sum(1) / self.shared
        off = total / counts - mean[:, None]
        return mean, (square + counts * off * off).sum(1) / self.shared

    def scaled(self, weight, bias, mean, rstd):
        """xhat weight + bias, laid out as x."""
        return self._each(self.x, weight, bias, mean, rstd, mean, mean, backward=False)

    def sums(self, dy, mean, rstd):
        """sum(dy) and sum(dy xhat) of each channel of each sample."""
        return self._sums(sums_kernel, dy, self.x, mean, rstd, self.sets).sum(-1)

    def mean(self, v, weight):
        """The mean over each set of what v (samples, channels) is the sum of, times weight."""
        v = v if weight is None else v * weight.to(v.dtype)
        return self._over_sets(v).sum(1) / self.shared

    def through(self, dy, weight, mean, rstd, about, along):
        """dx, laid out as x."""
        return self._each(dy, weight, None, mean, rstd, about, along, backward=True)

    def _each(self, dy, weight, bias, mean, rstd, about, along, *, backward):
        x, out = self.x, torch.empty_like(self.x)
        _launch.run(
            each_kernel, (self.across * self.along,), x,
            dy, x, present(weight, x), present(bias, x), mean, rstd, about, along, out, self.lines,
            self.places, *self.sets, BACKWARD=backward, HAS_WEIGHT=weight is not None,
            HAS_BIAS=bias is not None, BY_HAND=x.device.type == "cpu" and x.dtype == torch.bfloat16,
            **self.known,
        )  # fmt: skip
        return out


def refuses(arrays, dims):
    if (reason := _launch.refuses(arrays) or refuses_types(NAMES, arrays)) is not None:
        return reason
    return "x has no elements" if arrays[0].numel() == 0 else None


def vectors(*given):
    return tuple(None if v is None else _opaque.readable(v) for v in given)


def forward(x, weight, bias, groups, eps):
    """(y, and mean, rstd, variance over B and the groups)."""
    lines = Lines(_opaque.readable(x), groups)
    mean, var = lines.moments()
    rstd = inverse_root(var + eps)
    y = lines.scaled(*vectors(weight, bias), mean, rstd)
    found = (s.reshape(-1, groups) for s in (mean, rstd, var))
    return put_behind(y) if channels_behind(x) else y, *found


def backward(dy, x, weight, mean, rstd, needs, groups):
    lines = Lines(_opaque.readable(x), groups)
    (weight,) = vectors(weight)
    dy, mean, rstd = (_opaque.readable(a) for a in (dy.to(x.dtype), mean, rstd))
    about, along = lines.sums(dy, mean, rstd)
    dx = None
    if needs[0]:
        means = (lines.mean(s, weight) for s in (about, along))
        dx = lines.through(dy, weight, mean, rstd, *means)
        dx = put_behind(dx) if channels_behind(x) else dx
    return dx, along.sum(0) if needs[1] else None, about.sum(0) if needs[2] else None
