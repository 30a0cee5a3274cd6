"""The autograd.Function that every bpx rule derives from.

What torch leaves to its users is settled here: `apply` skips the signature binding that costs more
than a small operation; forward mode nested in forward mode, which torch would answer with zeros,
raises; torch's old vmap, which has rules for few operations, is left for the new; a result is no
view of what its forward made; and autocast around a backward does not change its dtypes.
"""

import contextlib

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters


class Function(torch.autograd.Function):
    @classmethod
    def apply(cls, *args):
        if torch._C._are_functorch_transforms_active():
            return super().apply(*args)
        return super(torch.autograd.Function, cls).apply(*args)


def on_its_own(y, residuals, arrays):
    """(y, residuals) of a forward, with y no view of what was made in it: torch lets nobody write
    to a view that a Function gives out. One of an argument stays a view."""
    if not y._is_view() or torch._C._are_functorch_transforms_active():
        return y, residuals
    if any(a is not None and (y._base is a or y._base is a._base) for a in arrays):
        return y, residuals
    own = y.detach()
    return own, tuple(own if r is y else r for r in residuals)


@contextlib.contextmanager
def without_autocast(*values):
    """Autocast off on the devices of these tensors: a backward computes in the dtypes that its
    forward had, also where it is called inside a region."""
    with contextlib.ExitStack() as off:
        for device in {v.device.type for v in values if v is not None}:
            if torch.amp.is_autocast_available(device):
                off.enter_context(torch.autocast(device, enabled=False))
        yield


def forward_mode_depth() -> int:
    """How many torch.func.jvp transforms enclose this call."""
    if not torch._C._are_functorch_transforms_active():
        return 0
    return sum(i.key().name == "Jvp" for i in retrieve_all_functorch_interpreters())


def without_old_vmap(f, *values):
    """f(*values) -> tuple of tensors and None, of values that are tensors or None.

    Gradients by `is_grads_batched=True` and Jacobians by `vectorize=True` come as tensors of the
    old vmap. Their batch dims are laid open, f runs under torch.func.vmap, and they are closed.
    """
    if not any(v is not None and is_legacy_batchedtensor(v) for v in values):
        return f(*values)
    levels = range(torch._C._vmapmode_increment_nesting() - 1, 0, -1)
    torch._C._vmapmode_decrement_nesting()
    opened, there = [], []
    for level in levels:
        # a tensor without this level would be expanded to the size given, here 0: it has none
        wide = [None if v is None else torch._remove_batch_dim(v, level, 0, 0) for v in values]
        batched = tuple(None if w is None or not len(w) else 0 for w in wide)
        if any(d == 0 for d in batched):
            opened.append((level, batched))
            values = [w if d == 0 else v for v, w, d in zip(values, wide, batched, strict=True)]

    def run(*values):
        found = f(*values)
        there[:] = [g is not None for g in found]
        return tuple(g for g in found if g is not None)  # vmap takes no None

    for _, batched in reversed(opened):
        run = torch.func.vmap(run, batched)
    found = run(*values)
    for level, _ in opened:
        found = tuple(torch._add_batch_dim(g, 0, level) for g in found)
    left = iter(found)
    return tuple(next(left) if t else None for t in there)
