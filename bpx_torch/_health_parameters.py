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
_dtype_of, _shape_of = Tensor.dtype.__get__, Tensor.shape.__get__
_requires_grad = Tensor.requires_grad.__get__


def grouped(parameters, held=None):
    """The Groups of named parameters, and the names of those that are in none. Those whose id is in
    `held` are copied, all of them without it."""
    found, rest = {}, []
    for name, p in parameters.items():
        if core.address(p):
            copied = held is None or id(p) in held
            found.setdefault((p.dtype, copied), {})[name] = p
        else:
            rest.append(name)
    return [Group(named, copied) for (_, copied), named in found.items()], rest


class Group:
    """The named parameters of a dtype, each of which has a `core.address`; whether they are
    copied."""

    def __init__(self, named, copied):
        self.names, self.parameters, self.copied = [*named], [*named.values()], copied
        self.places = {name: i for i, name in enumerate(named)}
        self.ids = {*map(id, self.parameters)}
        self.dtype = self.parameters[0].dtype
        self.at = [*map(Tensor.data_ptr, self.parameters)]
        self.shapes = [*map(_shape_of, self.parameters)]
        self.sizes = [*map(Tensor.numel, self.parameters)]
        self.largest = max(self.sizes)
        self.starts = [*accumulate(self.sizes, initial=0)]  # in the copies
        self.room = self.starts.pop()
        self.offsets = [start * self.dtype.itemsize for start in self.starts]

    def same(self, held=None):
        """Whether the parameters are where they were, and as they were, and copied as before."""
        if held is None:
            copied = self.copied
        else:
            copied = self.ids <= held if self.copied else self.ids.isdisjoint(held)
        return copied and self.there()

    def there(self):
        """Whether the parameters are where they were, and as they were."""
        ps = self.parameters
        return [*map(Tensor.data_ptr, ps)] == self.at and self._like(ps)

    def _like(self, tensors):
        return (
            [*map(_dtype_of, tensors)].count(self.dtype) == len(tensors)
            and [*map(_shape_of, tensors)] == self.shapes
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
    and the core takes them; and, with `copied`, copies that tell how far the weights move."""

    def __init__(self, group, gradients=None, copied=False):
        self.group, many = group, len(group.names)
        self.names, self.slopes, self.norms = group.names, [0] * many, ()
        self.flat, self.ends = None, self.slopes
        if gradients is not None:
            self.slopes = group.addresses(gradients)
        if copied:
            self.flat = torch.empty(group.room, dtype=group.dtype, device="cpu")
            base = self.flat.data_ptr()
            self.ends = [base + offset for offset in group.offsets]
        self.out = (ctypes.c_double * (8 * many))()
        table = array("q", group.at + self.slopes + self.ends + group.sizes)
        call = PACK(table.buffer_info()[0], ctypes.addressof(self.out), many)
        core.run("watch_parameters", group.dtype, call, group.largest)

    def before(self, name):
        """The copy of a parameter; None where there is none."""
        if self.flat is None:
            return None
        i = self.group.places[name]
        start = self.group.starts[i]
        return self.flat[start : start + self.group.sizes[i]].view(self.group.shapes[i])

    def move(self):
        """See how far the copied parameters that require gradients moved; the names of those that
        are no longer where they were, whose norms are left out."""
        group = self.group
        if self.flat is None:
            return []
        if not group.there():
            needed = zip(self.names, map(_requires_grad, group.parameters), strict=True)
            return [name for name, need in needed if need]
        many = len(self.names)
        table, out = array("q", group.at + self.ends + group.sizes), (ctypes.c_double * many)()
        call = PACK(table.buffer_info()[0], ctypes.addressof(out), many)
        core.run("distances", group.dtype, call, group.largest)
        self.norms = zip(self.names, out, map(_requires_grad, group.parameters), strict=True)
        self.norms = [(name, norm) for name, norm, need in self.norms if need]
        return []

    def close(self):
        """Let go of the parameters and their copies."""
        self.group = self.flat = None

    def rows(self):
        """(name, moments of its weights, moments of its gradient or None) of each parameter."""
        many, out = len(self.names), self.out[:]
        for i, name in enumerate(self.names):
            row, slope = out[4 * i : 4 * i + 4], out[4 * (many + i) : 4 * (many + i + 1)]
            yield name, row, slope if self.slopes[i] else None
