"""An initializer as torch tensors. The host draws the numbers, in bpx/initializers/_draw.py."""

import numpy as np
import torch

from bpx import spec
from bpx.initializers._draw import draw, to_odd_float32
from bpx.random import MASK
from bpx.spec import require


class Initializer:
    """`spec` is the entry's record, whose options a call takes by name."""

    def __init__(self, spec: spec.Initializer) -> None:
        self.spec = spec

    def __call__(self, key, shape, dtype=None, *, device=None, **options):
        """A new tensor of the default dtype unless one is given. `key` as in bpx_torch.random."""
        dtype = torch.get_default_dtype() if dtype is None else dtype
        require(
            dtype.is_floating_point,
            f"{self.spec.name}: dtype is {dtype}, expected a floating dtype",
        )
        key = key.cpu().numpy() if isinstance(key, torch.Tensor) else key
        return rounded(draw(self.spec, key, shape, **options), dtype).to(device)

    def fill_(self, tensor, generator=None, key=None, **options):
        """Fill a tensor in place, whatever its device and layout, and return it.

        Without a key one is drawn from the generator, or from torch's default one on the CPU, so
        that torch.manual_seed governs. A tensor without elements or storage is left as it is.
        """
        if tensor.numel() == 0 or tensor.is_meta:
            return tensor
        if key is None and self.spec.moments is not None:
            key = drawn_key(generator)
        with torch.no_grad():
            return tensor.copy_(self(key, tuple(tensor.shape), tensor.dtype, **options))


def drawn_key(generator):
    """A key from a torch generator: 64 of its bits."""
    device = "cpu" if generator is None else generator.device
    words = torch.randint(MASK + 1, (2,), generator=generator, device=device)
    high, low = words.tolist()
    return high << 32 | low


def rounded(x, dtype):
    """A float64 array as a tensor, rounded once, to the nearest."""
    narrow = dtype.itemsize < 4
    return torch.from_numpy(np.asarray(to_odd_float32(x) if narrow else x)).to(dtype)
