"""torch.nn.GLU over the rule of bpx, re-exported by bpx_torch.nn."""

import torch

from bpx_torch import _functional_gated as F


class GLU(torch.nn.GLU):
    def forward(self, input):
        return F.glu(input, self.dim)
