"""Modules of two inputs of torch.nn over the rules of bpx, re-exported by bpx_torch.nn. What
differs from torch is said in bpx_torch/_functional_pairs.py."""

import torch

from bpx_torch import _functional_pairs as F
from bpx_torch._profiles import profiled_module


class Bilinear(torch.nn.Bilinear):
    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)


@profiled_module("cosine_similarity")
class CosineSimilarity(torch.nn.CosineSimilarity):
    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
