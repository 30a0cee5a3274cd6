"""What Triton kernels share that hold a whole row in one block."""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels.triton import _launch

LARGEST = 65536  # elements of a row in one block
TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@triton.jit
def rounded(v, BY_HAND: tl.constexpr):
    """v; BY_HAND, rounded to bfloat16, since the store of Triton's interpreter truncates."""
    if BY_HAND:
        bits = v.to(tl.uint32, bitcast=True)
        even = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        v = tl.where(v == v, even.to(tl.float32, bitcast=True), v)
    return v


def refuses_types(names, arrays):
    """None, or why arrays of these types are not taken. The others are not wider than the first."""
    first, *others = arrays
    for name, a in zip(names, arrays, strict=False):
        if a is not None and a.dtype not in TYPES:
            return f"{name} is {_name(a)}"
    if first.dtype != torch.float64 and any(
        a is not None and a.dtype == torch.float64 for a in others
    ):
        wide = " or ".join(names[1 : len(arrays)])
        return f"{wide} is float64 beside {_name(first)} {names[0]}"
    return None


def refuses(names, arrays, columns):
    """None, or why rows of `columns` elements cannot be handled. The first array is the rows."""
    if (reason := _launch.refuses(arrays) or refuses_types(names, arrays)) is not None:
        return reason
    if columns > LARGEST:
        return f"a row has {columns} elements, at most {LARGEST} fit in one block"
    return "a row has no elements" if columns == 0 else None


def programs(x):
    """A few for each multiprocessor, so that loads overlap; four is a guess, not measured."""
    if x.device.type == "cpu":
        return 8
    return 4 * torch.cuda.get_device_properties(x.device).multi_processor_count


def meta(x, columns):
    """The constants of a kernel for rows of this length."""
    block = triton.next_power_of_2(columns)
    return {
        "BY_HAND": x.device.type == "cpu" and x.dtype == torch.bfloat16,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "BLOCK": block,
        "num_warps": min(max(block // 256, 1), 16),
    }


def statistic(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def present(a, stand_in):
    """A pointer is passed for what is absent too; the kernel does not follow it."""
    return stand_in if a is None else a


def _name(a):
    return str(a.dtype).removeprefix("torch.")
