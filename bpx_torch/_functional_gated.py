"""torch.nn.functional.glu over the rule of bpx, re-exported by bpx_torch.functional."""

from bpx.spec import require
from bpx_torch.activations import gated


def glu(input, dim=-1):
    known = -input.ndim <= dim < input.ndim and input.shape[dim] % 2 == 0
    require(
        known,
        f"glu: dim is {dim} of an input of shape {tuple(input.shape)}, expected one of even size",
    )
    x, gate = input.chunk(2, dim) if input.shape[dim] else (input, input)
    return gated.glu(x, gate)
