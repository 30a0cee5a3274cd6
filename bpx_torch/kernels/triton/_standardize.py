"""group_norm, instance_norm and batch_norm on a GPU, in Triton: sums along lines, then one pass.

x (B C *S) is read as lines of S places, one for each channel of each sample; with the channels
behind (`by_rows`) a line is a channel and its places are the rows. A set is what has one mean: some
neighbouring lines of a sample, or the lines of a channel in all samples. Each program adds up a
part of some lines in float32 (float64 for float64 x); another kernel joins them. No atomics.
"""

import functools
import math
from types import SimpleNamespace

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._lines import (
    each_kernel,
    joined_kernel,
    moments_kernel,
    sums_kernel,
    totals_kernel,
)
from bpx_torch.kernels.triton._rows import (
    present,
    programs,
    refuses_types,
    statistic,
)

TILE = 2048  # elements that a program has at once
NAMES = ("x", "weight", "bias", "running_mean", "running_var")
ENTRIES = 1024  # sums of parts that are joined at once
STRIP = 64  # channels of a tile, where they lie behind


@functools.lru_cache(256)
def plan(shape, groups, by_rows, wanted):
    """How x is cut, in whole numbers: `wanted` programs are to add it up."""
    channels = shape[1]
    samples = 1 if by_rows else shape[0]
    lines, n = samples * channels, math.prod(shape)
    places = n // lines
    wide = min(triton.next_power_of_2(places), TILE)
    tall = max(TILE // wide, 1)
    if by_rows:
        tall = min(triton.next_power_of_2(lines), STRIP)
        wide = min(triton.next_power_of_2(places), TILE // tall)
    tall = min(tall, triton.next_power_of_2(lines))
    across = triton.cdiv(lines, tall)
    parts = min(max(wanted // across, 1), triton.cdiv(places, 4 * wide))
    chunk = triton.cdiv(triton.cdiv(places, parts), wide) * wide
    parts = triton.cdiv(places, chunk)
    return SimpleNamespace(
        samples=samples, channels=channels, lines=lines, places=places, tall=tall, wide=wide,
        across=across, along=triton.cdiv(places, wide), parts=parts, chunk=chunk,
        sets=samples * groups if groups else channels,
        shared=n // (samples * groups if groups else channels),
        # of a channel's place among the sets: channels, sets of a sample, channels of a set
        belongs=(channels, groups or 0, channels // groups if groups else 1),
    )  # fmt: skip


class Lines:
    """x as lines, and the sets that they form: `groups` in each sample, or None for one to each
    channel."""

    def __init__(self, x, groups, by_rows=False):
        self.x, self.groups, self.statistic = x, groups, statistic(x)
        p = self.plan = plan(tuple(x.shape), groups, by_rows, programs(x))
        self.acc = tl.float64 if x.dtype == torch.float64 else tl.float32
        self.known = {
            "BY_ROWS": by_rows,
            "ACC": self.acc,
            "LINES": p.tall,
            "BLOCK": p.wide,
            "num_warps": min(max(p.tall * p.wide // 512, 1), 4),
        }

    def _sums(self, kernel, *arrays, sizes=()):
        """Two sums over each part of each line, (samples, channels, parts)."""
        p = self.plan
        found = self.new(2, p.lines * p.parts)
        _launch.run(
            kernel, (p.across, p.parts), self.x, *arrays, *found, p.lines, p.places, p.chunk,
            *sizes, **self.known,
        )  # fmt: skip
        return found

    def new(self, *shape):
        return self.x.new_empty(shape, dtype=self.statistic)

    def _of_sets(self):
        """Where a set's sums of parts lie among all, as `entries` reads them."""
        p = self.plan
        return p.belongs[2] * p.parts, p.channels * p.parts, p.lines // p.sets * p.parts

    def _block(self, many):
        block = min(triton.next_power_of_2(many), ENTRIES)
        return {"ACC": self.acc, "BLOCK": block, "num_warps": min(max(block // 64, 1), 4)}

    def moments(self, eps):
        """mean, rstd and biased variance of each set, (3, sets)."""
        p, (inner, stride, many) = self.plan, self._of_sets()
        parts = self._sums(moments_kernel, self.x)
        found = self.new(3, p.sets)
        _launch.run(
            joined_kernel, (p.sets,), self.x, *parts, *found, inner, stride, many, p.parts, p.chunk,
            p.places, p.shared, EPS=float(eps), **self._block(many),
        )  # fmt: skip
        return found

    def scaled(self, weight, bias, mean, rstd):
        """xhat weight + bias, laid out as x."""
        return self._each(self.x, weight, bias, mean, rstd, mean, mean, backward=False)

    def sums(self, dy, mean, rstd):
        """sum(dy) and sum(dy xhat) of each part of each line."""
        return self._sums(sums_kernel, dy, self.x, mean, rstd, sizes=self.plan.belongs)

    def totals(self, parts, weight):
        """Of each set: the sums that `parts` are of, and the means of them times weight."""
        p, (inner, stride, many) = self.plan, self._of_sets()
        sums, means = self.new(2, p.sets), self.new(2, p.sets)
        _launch.run(
            totals_kernel, (p.sets,), self.x, *parts, present(weight, self.x), sums, means, inner,
            stride, many, p.parts, self.groups or p.sets, p.belongs[2], p.shared,
            HAS_WEIGHT=weight is not None, **self._block(many),
        )  # fmt: skip
        return sums, means

    def through(self, dy, weight, mean, rstd, about, along):
        """dx, laid out as x."""
        return self._each(dy, weight, None, mean, rstd, about, along, backward=True)

    def _each(self, dy, weight, bias, mean, rstd, about, along, *, backward):
        x, p, out = self.x, self.plan, torch.empty_like(self.x)
        _launch.run(
            each_kernel, (p.across * p.along,), x,
            dy, x, present(weight, x), present(bias, x), mean, rstd, about, along, out, p.lines,
            p.places, *p.belongs, BACKWARD=backward, HAS_WEIGHT=weight is not None,
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
    mean, rstd, var = lines.moments(eps)
    y = lines.scaled(*vectors(weight, bias), mean, rstd)
    found = (s.view(-1, groups) for s in (mean, rstd, var))
    return put_behind(y) if channels_behind(x) else y, *found


def backward(dy, x, weight, mean, rstd, needs, groups):
    lines = Lines(_opaque.readable(x), groups)
    (weight,) = vectors(weight)
    dy, mean, rstd = (_opaque.readable(a) for a in (dy.to(x.dtype), mean, rstd))
    parts = lines.sums(dy, mean, rstd)
    dx = dbias = dweight = None
    if needs[0]:
        _, means = lines.totals(parts, weight)
        dx = lines.through(dy, weight, mean, rstd, *means)
        dx = put_behind(dx) if channels_behind(x) else dx
    if needs[1] or needs[2]:  # over the samples
        (dbias, dweight), _ = Lines(lines.x, None).totals(parts, None)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None
