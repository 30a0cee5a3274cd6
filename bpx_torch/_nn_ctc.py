"""torch.nn.CTCLoss over the rule of bpx, re-exported by bpx_torch.nn. What differs from torch is
said in bpx_torch/_functional_ctc.py."""

import torch

from bpx_torch import _functional_ctc as F


class CTCLoss(torch.nn.CTCLoss):
    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
