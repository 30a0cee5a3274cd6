"""torch.nn.Embedding and EmbeddingBag over the rule of bpx, re-exported by bpx_torch.nn. What
differs from torch is said in bpx_torch/_functional_embedding.py."""

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


class EmbeddingBag(torch.nn.EmbeddingBag):
    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
