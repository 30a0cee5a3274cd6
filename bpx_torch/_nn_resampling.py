"""The resizing modules of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

What differs from torch is said in bpx_torch/_functional_resampling.py.
"""

import torch

from bpx_torch import _functional_resampling as F


class Upsample(torch.nn.Upsample):
    def forward(self, input):
        how = (self.mode, self.align_corners, self.recompute_scale_factor)
        return F.interpolate(input, self.size, self.scale_factor, *how)


class UpsamplingNearest2d(torch.nn.UpsamplingNearest2d):
    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode)


class UpsamplingBilinear2d(torch.nn.UpsamplingBilinear2d):
    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)
