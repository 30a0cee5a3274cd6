"""torch.nn.Embedding over the rule of bpx, re-exported by bpx_torch.nn. What differs from torch is
said in bpx_torch/_functional_embedding.py."""

import torch

from bpx_torch import _functional_embedding as F
from bpx_torch._profiles import profiled_module


@profiled_module("embedding")
class Embedding(torch.nn.Embedding):
    def forward(self, input):
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )
