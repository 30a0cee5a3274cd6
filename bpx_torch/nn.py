"""torch.nn's modules over the rules of bpx.

Each derives from its namesake and replaces `forward` alone: constructor, initialization,
state_dict, repr and pickling are torch's own. GAPS has a reason for every other module of torch.nn.
"""

import torch

from bpx_torch import _gaps
from bpx_torch import _nn_losses as _losses
from bpx_torch import _nn_pooling as _pooling
from bpx_torch import functional as F
from bpx_torch._nn_activations import (  # noqa: F401
    CELU,
    ELU,
    GELU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    ReLUSquared,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from bpx_torch._nn_adaptive import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss
from bpx_torch._nn_attention import (  # noqa: F401
    MultiheadAttention,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from bpx_torch._nn_compositions import (  # noqa: F401
    AlphaDropout,
    FeatureAlphaDropout,
    MultiLabelSoftMarginLoss,
    RReLU,
    Softmax2d,
    Softmin,
    Softshrink,
    Tanhshrink,
    Threshold,
    TripletMarginWithDistanceLoss,
)
from bpx_torch._nn_conv import Conv1d as Conv1d
from bpx_torch._nn_conv import Conv2d as Conv2d
from bpx_torch._nn_conv import Conv3d as Conv3d
from bpx_torch._nn_conv import ConvTranspose1d as ConvTranspose1d
from bpx_torch._nn_conv import ConvTranspose2d as ConvTranspose2d
from bpx_torch._nn_conv import ConvTranspose3d as ConvTranspose3d
from bpx_torch._nn_ctc import CTCLoss as CTCLoss
from bpx_torch._nn_dropout import Dropout, Dropout1d, Dropout2d, Dropout3d  # noqa: F401
from bpx_torch._nn_embedding import Embedding as Embedding
from bpx_torch._nn_embedding import EmbeddingBag as EmbeddingBag
from bpx_torch._nn_fused import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from bpx_torch._nn_gated import GLU as GLU
from bpx_torch._nn_losses import (  # noqa: F401
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
)
from bpx_torch._nn_losses_more import (  # noqa: F401
    CosineEmbeddingLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    KLDivLoss,
    MarginRankingLoss,
    MultiMarginLoss,
    NLLLoss,
    PoissonNLLLoss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from bpx_torch._nn_normalization import (  # noqa: F401
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    RMSNorm,
)
from bpx_torch._nn_pairs import Bilinear, CosineSimilarity  # noqa: F401
from bpx_torch._nn_pooling import (  # noqa: F401
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from bpx_torch._nn_recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell  # noqa: F401
from bpx_torch._nn_resampling import (  # noqa: F401
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)
from bpx_torch._nn_reversible import ReversibleBlock as ReversibleBlock
from bpx_torch._nn_reversible import ReversibleSequence as ReversibleSequence
from bpx_torch._nn_surrogate import (  # noqa: F401
    DirectFeedbackAlignment,
    GradientClipNorm,
    GradientClipValue,
    GradientReversal,
    GradientScale,
    LinearFeedbackAlignment,
    LinearSignSymmetric,
    SpikeArctan,
    SpikeFastSigmoid,
    SpikeTriangular,
    StraightThroughBinarize,
    StraightThroughRound,
    StraightThroughSign,
)
from bpx_torch._nn_surrogate_conv import (  # noqa: F401
    Conv1dFeedbackAlignment,
    Conv1dSignSymmetric,
    Conv2dFeedbackAlignment,
    Conv2dSignSymmetric,
    Conv3dFeedbackAlignment,
    Conv3dSignSymmetric,
)
from bpx_torch._profiles import profiled_module
from bpx_torch.layers import flatten as _flatten


@profiled_module("linear")
class Linear(torch.nn.Linear):
    def forward(self, input):
        return F.linear(input, self.weight, self.bias)


@profiled_module("layer_norm")
class LayerNorm(torch.nn.LayerNorm):
    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class Flatten(torch.nn.Flatten):
    """Of what has no gradient, integers and the like, torch's own."""

    def forward(self, input):
        if not input.is_floating_point():
            return super().forward(input)
        return _flatten.flatten(input, start_dim=self.start_dim, end_dim=self.end_dim)


GAPS = (
    {name: reason for reason, names in _gaps.MODULES.items() for name in names.split()}
    | _losses.GAPS
    | _pooling.GAPS
)
