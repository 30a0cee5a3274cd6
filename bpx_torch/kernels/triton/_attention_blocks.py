"""How many queries (M) and keys (N) a program of attention takes at once, its warps and stages."""

import triton

# by the features of a head, up to: (M, N, warps, stages)
NARROW = {
    "forward": {64: (64, 64, 4, 3), 128: (64, 64, 4, 3), 256: (128, 32, 8, 2)},
    "dquery": {64: (64, 64, 4, 3), 128: (128, 64, 8, 3), 256: (64, 32, 8, 1)},
    "dkey": {64: (64, 64, 4, 3), 128: (64, 128, 8, 3), 256: (32, 64, 8, 1)},
    "dbias": {64: (64, 64, 4, 2), 128: (64, 64, 4, 2), 256: (32, 32, 4, 1)},
}
WIDE = {
    "forward": {64: (64, 32, 4, 2), 128: (32, 32, 4, 2), 256: (32, 16, 4, 1)},
    "dquery": {64: (32, 32, 4, 2), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
    "dkey": {64: (32, 32, 4, 2), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
    "dbias": {64: (32, 32, 4, 1), 128: (32, 32, 4, 1), 256: (16, 16, 4, 1)},
}


def of(name, call):
    """The constants of a kernel; blocks are no longer than the arrays, but 16 for the products."""
    table = (WIDE if call.wide else NARROW)[name]
    features = max(call.constants["DB"], call.constants["EB"])
    m, n, warps, stages = next(c for most, c in table.items() if features <= most)
    t, s = call.sizes[:2]
    m, n = (min(x, max(triton.next_power_of_2(size), 16)) for x, size in ((m, t), (n, s)))
    return {"M": m, "N": n, "num_warps": warps, "num_stages": stages}
