"""torch.nn.AdaptiveLogSoftmaxWithLoss over the rules of bpx, re-exported by bpx_torch.nn.

It derives from its namesake, and its weights lie where torch's do. The log-probability of a target
is two cross entropies: of its cluster in the head, of the target in the cluster. Stated difference
from torch: what is wrong with the arguments is said before anything is computed, as a SpecError.
"""

from itertools import pairwise

import torch
from torch.nn.modules.adaptive import _ASMoutput

from bpx.spec import require
from bpx_torch import functional as F


class AdaptiveLogSoftmaxWithLoss(torch.nn.AdaptiveLogSoftmaxWithLoss):
    def forward(self, input_, target_):
        shapes = f"input has shape {tuple(input_.shape)}, target {tuple(target_.shape)}"
        require(
            target_.ndim < 2 and input_.shape[:-1] == target_.shape and input_.ndim > 0,
            f"adaptive_log_softmax: {shapes}, expected (N I) and (N), or (I) and ()",
        )
        x, target = (input_, target_) if target_.ndim else (input_[None], target_[None])
        known = (target >= 0) & (target < self.n_classes)
        require(
            bool(known.all()),
            f"adaptive_log_softmax: target holds classes outside 0 .. {self.n_classes - 1}",
        )
        places, parts = target, []
        for i, (first, end) in enumerate(pairwise(self.cutoffs)):
            rows = ((target >= first) & (target < end)).nonzero().squeeze(1)
            if not len(rows):
                continue
            places = places.index_fill(0, rows, self.shortlist_size + i)
            logits = self._cluster(i, x.index_select(0, rows))
            own = F.cross_entropy(logits, target[rows] - first, reduction="none")
            parts.append((rows, own))
        loss = F.cross_entropy(self._head(x), places, reduction="none")
        for rows, own in parts:
            loss = loss.index_add(0, rows, own)
        loss = loss.to(x.dtype)  # under autocast too, as torch
        output = -loss if target_.ndim else -loss.squeeze(0)
        return _ASMoutput(output, loss.mean())

    def log_prob(self, input):
        return self._get_full_log_prob(input, self._head(input))

    def _get_full_log_prob(self, input, head_output):
        shortlist, *clusters = F.log_softmax(head_output, dim=1).split(
            [self.shortlist_size, *[1] * self.n_clusters], 1
        )
        inside = (F.log_softmax(self._cluster(i, input), dim=1) for i in range(self.n_clusters))
        return torch.cat(
            [shortlist, *(c + own for c, own in zip(clusters, inside, strict=True))], 1
        )

    def _head(self, x):
        return F.linear(x, self.head.weight, self.head.bias)

    def _cluster(self, i, x):
        down, up = self.tail[i]
        return F.linear(F.linear(x, down.weight), up.weight)
