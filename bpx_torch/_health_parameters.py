"""Parameters of one dtype that the native core takes, looked at in one call before an optimizer's
step and in one after it, for bpx_torch.health."""

import ctypes
import struct
from array import array
from itertools import accumulate

import torch
from torch import Tensor

from bpx_torch import _health_native as core

PACK = struct.Struct("3q").pack
_dtype_of, _requires_grad = Tensor.dtype.__get__, Tensor.requires_grad.__get__


def grouped(parameters):
    """The Groups of named parameters, and the names of those that are in none."""
    found, rest = {}, []
    for name, p in parameters.items():
        if core.address(p):
            found.setdefault(p.dtype, {})[name] = p
        else:
            rest.append(name)
    return [*map(Group, found.values())], rest


class Group:
    """The named parameters of a dtype, each of which has a `core.address`."""

    def __init__(self, named):
        self.names, self.parameters = [*named], [*named.values()]
        self.dtype = self.parameters[0].dtype
        self.at = [*map(Tensor.data_ptr, self.parameters)]
        self.sizes = [*map(Tensor.numel, self.parameters)]
        self.largest = max(self.sizes)
        self.places = {name: i for i, name in enumerate(named)}

    def same(self):
        """Whether the parameters are where they were, and as they were."""
        ps = self.parameters
        return [*map(Tensor.data_ptr, ps)] == self.at and self._like(ps)

    def _like(self, tensors):
        return (
            [*map(_dtype_of, tensors)].count(self.dtype) == len(tensors)
            and [*map(Tensor.numel, tensors)] == self.sizes
            and all(map(Tensor.is_contiguous, tensors))
            and not any(map(Tensor.is_neg, tensors))
        )

    def addresses(self, gradients):
        """Of gradients, each of which may be None; 0 for those that the core does not take."""
        if {*map(type, gradients)} <= core.PLAIN and self._like(gradients):
            return [*map(Tensor.data_ptr, gradients)]
        return [
            core.address(g) if g is not None and g.dtype == self.dtype and g.numel() == n else 0
            for g, n in zip(gradients, self.sizes, strict=True)
        ]


class Look:
    """What is seen of a Group in one step: of its weights; of gradients, where they are not None
    and the core takes them; and, where `copied`, copies that tell how far the weights move."""

    def __init__(self, group, gradients, copied):
        self.group, many = group, len(group.names)
        self.names, self.starts = group.names, None
        self.slopes, ends = group.addresses(gradients), [0] * many
        if any(copied):
            rooms = [n if c else 0 for n, c in zip(group.sizes, copied, strict=True)]
            self.starts = [*accumulate(rooms, initial=0)]
            self.flat = torch.empty(self.starts.pop(), dtype=group.dtype, device="cpu")
            base, step = self.flat.data_ptr(), group.dtype.itemsize
            self.ends = ends = [
                base + start * step if c else 0
                for start, c in zip(self.starts, copied, strict=True)
            ]
        self.out = (ctypes.c_double * (8 * many))()
        table = array("q", group.at + self.slopes + ends + group.sizes)
        call = PACK(table.buffer_info()[0], ctypes.addressof(self.out), many)
        core.run("watch_parameters", group.dtype, call, group.largest)

    def before(self, name):
        """The copy of a parameter; None where there is none."""
        i = self.group.places[name]
        if self.starts is None or not self.ends[i]:
            return None
        start, p = self.starts[i], self.group.parameters[i]
        return self.flat[start : start + self.group.sizes[i]].view(p.shape)

    def moved(self):
        """name -> the norm of its change, for copied parameters that require gradients; None for
        those that are no longer where they were."""
        if self.starts is None:
            return {}
        group, ends = self.group, self.ends
        needed = [*map(_requires_grad, group.parameters)]
        which = [i for i, end in enumerate(ends) if end and needed[i]]
        names = [self.names[i] for i in which]
        if not which or not group.same():
            return dict.fromkeys(names)
        at, sizes = [group.at[i] for i in which], [group.sizes[i] for i in which]
        table = array("q", at + [ends[i] for i in which] + sizes)
        out = (ctypes.c_double * len(which))()
        call = PACK(table.buffer_info()[0], ctypes.addressof(out), len(which))
        core.run("distances", group.dtype, call, group.largest)
        return dict(zip(names, out, strict=True))

    def close(self):
        """Let go of the parameters and their copies."""
        self.group = self.flat = self.starts = None

    def rows(self):
        """(name, moments of its weights, moments of its gradient or None) of each parameter."""
        many, out = len(self.names), self.out[:]
        for i, name in enumerate(self.names):
            row, slope = out[4 * i : 4 * i + 4], out[4 * (many + i) : 4 * (many + i + 1)]
            yield name, row, slope if self.slopes[i] else None
