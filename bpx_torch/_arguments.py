"""What a call's tensors are held against before a rule runs: types, dtypes, indices."""

import torch
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from bpx.spec import SpecError
from bpx_torch.kernels.cpu import _losses

KINDS = {
    "index": ((torch.int64, torch.int32, torch.uint8), "an integer dtype"),
    "bits": ((torch.uint8,), "torch.uint8"),
    "mask": ((torch.bool,), "torch.bool"),
    "key": ((torch.uint32,), "torch.uint32"),
}


def check_types(spec, arrays) -> None:
    for arg, a in zip(spec.args, arrays, strict=False):
        if a is None:
            continue
        if not isinstance(a, torch.Tensor):
            raise SpecError(
                f"{spec.name}: {arg.name} is {type(a).__name__}, expected a torch.Tensor"
            )
        known, expected = KINDS.get(arg.kind, ((), "a floating dtype"))
        if not (a.is_floating_point() if arg.kind == "float" else a.dtype in known):
            raise SpecError(f"{spec.name}: {arg.name} has dtype {a.dtype}, expected {expected}")


def check_indices(spec, arrays, dims, options) -> None:
    """Out-of-range indices raise in eager code on the CPU. Elsewhere looking at them would wait
    for the device or break the trace; there the rules give NaN for them."""
    for arg, a in zip(spec.args, arrays, strict=True):
        if arg.kind != "index" or a is None or a.device.type != "cpu" or not a.numel():
            continue
        traced = isinstance(a, FakeTensor | FunctionalTensor)
        if traced or torch._C._are_functorch_transforms_active():
            continue
        high = dims[arg.below]
        ignored = None if arg.ignore is None else options[arg.ignore]
        if _losses.labels_inside(a, high, ignored):
            continue
        a = a.long()  # torch would wrap the numbers it is compared with to uint8
        bad = (a < 0) | (a >= high)
        if ignored is not None:
            bad &= a != ignored
        if bad.any():
            allowed = "" if ignored is None else f" or {arg.ignore}={ignored}"
            raise SpecError(
                f"{spec.name}: {arg.name} holds {int(a[bad].flatten()[0])}, "
                f"expected 0 <= {arg.name} < {high}{allowed}"
            )
