"""The losses of the specification, in the order of ALL."""

from bpx.losses.binary_cross_entropy import SPEC as BINARY_CROSS_ENTROPY
from bpx.losses.binary_cross_entropy_with_logits import SPEC as BINARY_CROSS_ENTROPY_WITH_LOGITS
from bpx.losses.cosine_embedding import SPEC as COSINE_EMBEDDING
from bpx.losses.cross_entropy import SPEC as CROSS_ENTROPY
from bpx.losses.ctc import SPEC as CTC
from bpx.losses.focal import SPEC as FOCAL
from bpx.losses.gaussian_nll import SPEC as GAUSSIAN_NLL
from bpx.losses.hinge_embedding import SPEC as HINGE_EMBEDDING
from bpx.losses.huber import SPEC as HUBER
from bpx.losses.info_nce import SPEC as INFO_NCE
from bpx.losses.jsd import SPEC as JSD
from bpx.losses.kl_div import SPEC as KL_DIV
from bpx.losses.l1 import SPEC as L1
from bpx.losses.margin_ranking import SPEC as MARGIN_RANKING
from bpx.losses.mse import SPEC as MSE
from bpx.losses.multi_margin import SPEC as MULTI_MARGIN
from bpx.losses.nll_loss import SPEC as NLL_LOSS
from bpx.losses.poisson_nll import SPEC as POISSON_NLL
from bpx.losses.smooth_l1 import SPEC as SMOOTH_L1
from bpx.losses.soft_cross_entropy import SPEC as SOFT_CROSS_ENTROPY
from bpx.losses.soft_margin import SPEC as SOFT_MARGIN
from bpx.losses.triplet_margin import SPEC as TRIPLET_MARGIN

ALL = (
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
