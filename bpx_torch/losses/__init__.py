"""The loss rules for PyTorch, by entry name."""

from bpx_torch.losses.binary_cross_entropy import RULE as BINARY_CROSS_ENTROPY
from bpx_torch.losses.binary_cross_entropy_with_logits import (
    RULE as BINARY_CROSS_ENTROPY_WITH_LOGITS,
)
from bpx_torch.losses.cosine_embedding import RULE as COSINE_EMBEDDING
from bpx_torch.losses.cross_entropy import RULE as CROSS_ENTROPY
from bpx_torch.losses.ctc import RULE as CTC
from bpx_torch.losses.focal import RULE as FOCAL
from bpx_torch.losses.gaussian_nll import RULE as GAUSSIAN_NLL
from bpx_torch.losses.hinge_embedding import RULE as HINGE_EMBEDDING
from bpx_torch.losses.huber import RULE as HUBER
from bpx_torch.losses.info_nce import RULE as INFO_NCE
from bpx_torch.losses.jsd import RULE as JSD
from bpx_torch.losses.kl_div import RULE as KL_DIV
from bpx_torch.losses.l1 import RULE as L1
from bpx_torch.losses.margin_ranking import RULE as MARGIN_RANKING
from bpx_torch.losses.mse import RULE as MSE
from bpx_torch.losses.multi_margin import RULE as MULTI_MARGIN
from bpx_torch.losses.nll_loss import RULE as NLL_LOSS
from bpx_torch.losses.poisson_nll import RULE as POISSON_NLL
from bpx_torch.losses.smooth_l1 import RULE as SMOOTH_L1
from bpx_torch.losses.soft_cross_entropy import RULE as SOFT_CROSS_ENTROPY
from bpx_torch.losses.soft_margin import RULE as SOFT_MARGIN
from bpx_torch.losses.triplet_margin import RULE as TRIPLET_MARGIN

RULES = {
    rule.spec.name: rule
    for rule in (
        MSE,
        L1,
        HUBER,
        SMOOTH_L1,
        BINARY_CROSS_ENTROPY,
        BINARY_CROSS_ENTROPY_WITH_LOGITS,
        CROSS_ENTROPY,
        SOFT_CROSS_ENTROPY,
        KL_DIV,
        NLL_LOSS,
        POISSON_NLL,
        GAUSSIAN_NLL,
        HINGE_EMBEDDING,
        SOFT_MARGIN,
        MARGIN_RANKING,
        MULTI_MARGIN,
        COSINE_EMBEDDING,
        FOCAL,
        TRIPLET_MARGIN,
        JSD,
        INFO_NCE,
        CTC,
    )
}
