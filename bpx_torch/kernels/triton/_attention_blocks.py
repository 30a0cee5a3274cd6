"""How many queries (M) and keys (N) a program of attention takes at once, its warps and stages."""

import torch
import triton

# by the features of a head, up to: (M, N, warps, stages), of what was tried on an H200 the fastest
NARROW = {
    "forward": {64: (64, 64, 4, 3), 128: (64, 64, 4, 3), 256: (128, 32, 8, 2)},
    "dquery": {64: (64, 64, 4, 3), 128: (128, 64, 8, 3), 256: (64, 32, 8, 1)},
    "dkey": {64: (64, 64, 4, 2), 128: (64, 128, 8, 3), 256: (32, 64, 8, 1)},
    "dbias": {64: (64, 64, 4, 2), 128: (64, 64, 4, 2), 256: (32, 32, 4, 1)},
}
WIDE = {
    "forward": {64: (64, 64, 4, 2), 128: (32, 32, 4, 2), 256: (32, 16, 4, 1)},
    "dquery": {64: (64, 32, 4, 2), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
    "dkey": {64: (32, 32, 4, 2), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
    "dbias": {64: (32, 32, 4, 1), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
}
SPARE = 4096  # bytes that are shared beside the blocks


def of(name, call):
    """The constants of a kernel; blocks are no longer than the arrays, but 16 for the products, and
    fewer at once where the device has less to share."""
    table = (WIDE if call.wide else NARROW)[name]
    d, e = call.constants["DB"], call.constants["EB"]
    m, n, warps, stages = next(c for most, c in table.items() if max(d, e) <= most)
    t, s = call.sizes[:2]
    m, n = (min(x, max(triton.next_power_of_2(size), 16)) for x, size in ((m, t), (n, s)))
    room, width = shared(call.query.device), call.query.element_size() * (d + e)
    beside = (0 if call.bias is None else call.bias.element_size()) + call.constants["HAS_MASK"]
    while True:
        passed, kept = (m, n) if name == "dkey" else (n, m)
        if stages * (passed * width + m * n * beside) + kept * width <= room or max(m, n) == 16:
            break
        if stages > 1:
            stages -= 1
        else:
            m, n = max(m // 2, 16), max(n // 2, 16)
    return {"M": m, "N": n, "num_warps": warps, "num_stages": stages}


def shared(device):
    """Bytes that the warps of a program may share for blocks."""
    if device.type == "cpu":
        return 2**30
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin - SPARE
