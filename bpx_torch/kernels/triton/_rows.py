"""What Triton kernels share that hold whole rows in one block."""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels.triton import _launch

LARGEST = 65536  # elements of a row in one block
TILE = 4096  # elements of a block of several rows
WIDE = 8192
SHORT = 512
STRIP, DEEP = 256, 16  # columns and rows of a tile that is added up over the rows
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


def refuses_double(name, a):
    """None, or why a kernel that was not held to the spec in float64 on a GPU does not take `a`.
    Triton 3.6 fails to compile some of its products of float64."""
    if a.is_cuda and a.dtype == torch.float64:
        return f"{name} is float64 on a GPU, which is the plain rule's"
    return None


def refuses(names, arrays, columns):
    """None, or why rows of `columns` elements cannot be handled. The first array is the rows."""
    if (reason := _launch.refuses(arrays) or refuses_types(names, arrays)) is not None:
        return reason
    if columns > LARGEST:
        return f"a row has {columns} elements, at most {LARGEST} fit in one block"
    return "a row has no elements" if columns == 0 else None


def programs(x):
    """As many as run at once with room for loads to overlap."""
    if x.device.type == "cpu":
        return 8
    return 4 * torch.cuda.get_device_properties(x.device).multi_processor_count


def meta(x, columns, each=16):
    """The constants of a kernel for tiles of whole rows of this length, about `each` elements of
    them to a thread."""
    block = triton.next_power_of_2(columns)
    rows = max(TILE // block, 1)
    return {
        "BY_HAND": x.device.type == "cpu" and x.dtype == torch.bfloat16,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "ROWS": rows,
        "BLOCK": block,
        "num_warps": min(max(rows * block // (32 * each), 1), 16),
    }


def norm_meta(x, columns):
    """As `meta`, of few warps where a row is long: they wait for one another in each sum of it."""
    return meta(x, columns, 32 if columns > SHORT else 16)


def stages(x, columns):
    """How many tiles of a loop over rows are under way: one alone would leave the memory idle
    while it is computed, but for short rows and beyond 16 bits the registers are few."""
    return 3 if x.dtype.itemsize == 2 and columns > SHORT else 1


def wide(columns):
    """Whether sums over the rows do not fit in the registers beside a row."""
    return columns > WIDE


def columns_grid(x, rows, columns):
    """The grid of a kernel that adds up rows, tile by tile of some columns, and its constants."""
    parts = triton.cdiv(columns, STRIP)
    owners = min(triton.cdiv(rows, DEEP), max(programs(x) // parts, 1))
    return (parts, owners), {"ROWS": DEEP, "BLOCK": STRIP, "num_warps": 4}


def statistic(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def present(a, stand_in):
    """A pointer is passed for what is absent too; the kernel does not follow it."""
    return stand_in if a is None else a


def _name(a):
    return str(a.dtype).removeprefix("torch.")
