"""torch.nn's modules over the rules of bpx.

Each derives from its namesake and replaces `forward` alone: constructor, initialization,
state_dict, repr and pickling are torch's own. GAPS has a reason for every other module of torch.nn.
"""

import torch

from bpx_torch import _nn_losses as _losses
from bpx_torch import functional as F
from bpx_torch._nn_losses import (
    BCELoss as BCELoss,
)
from bpx_torch._nn_losses import (
    BCEWithLogitsLoss as BCEWithLogitsLoss,
)
from bpx_torch._nn_losses import (
    CrossEntropyLoss as CrossEntropyLoss,
)
from bpx_torch._nn_losses import (
    HuberLoss as HuberLoss,
)
from bpx_torch._nn_losses import (
    L1Loss as L1Loss,
)
from bpx_torch._nn_losses import (
    MSELoss as MSELoss,
)
from bpx_torch._nn_losses import (
    SmoothL1Loss as SmoothL1Loss,
)
from bpx_torch.activations.piecewise import relu_squared


class Sigmoid(torch.nn.Sigmoid):
    def forward(self, input):
        return F.sigmoid(input)


class Tanh(torch.nn.Tanh):
    def forward(self, input):
        return F.tanh(input)


class Softplus(torch.nn.Softplus):
    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)


class LogSigmoid(torch.nn.LogSigmoid):
    def forward(self, input):
        return F.logsigmoid(input)


class SiLU(torch.nn.SiLU):
    def forward(self, input):
        return F.silu(input, self.inplace)


class Mish(torch.nn.Mish):
    def forward(self, input):
        return F.mish(input, self.inplace)


class GELU(torch.nn.GELU):
    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)


class Softsign(torch.nn.Softsign):
    def forward(self, input):
        return F.softsign(input)


class ELU(torch.nn.ELU):
    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)


class SELU(torch.nn.SELU):
    def forward(self, input):
        return F.selu(input, self.inplace)


class CELU(torch.nn.CELU):
    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)


class ReLU(torch.nn.ReLU):
    def forward(self, input):
        return F.relu(input, self.inplace)


class LeakyReLU(torch.nn.LeakyReLU):
    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class ReLU6(torch.nn.ReLU6):
    def forward(self, input):
        return F.relu6(input, self.inplace)


class Hardtanh(torch.nn.Hardtanh):
    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class Hardsigmoid(torch.nn.Hardsigmoid):
    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)


class Hardswish(torch.nn.Hardswish):
    def forward(self, input):
        return F.hardswish(input, self.inplace)


class Hardshrink(torch.nn.Hardshrink):
    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class ReLUSquared(torch.nn.Module):
    """max(x, 0)^2, which torch.nn has not."""

    def forward(self, input):
        return relu_squared(input)


class PReLU(torch.nn.PReLU):
    def forward(self, input):
        return F.prelu(input, self.weight)


class Softmax(torch.nn.Softmax):
    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(torch.nn.LogSoftmax):
    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Linear(torch.nn.Linear):
    def forward(self, input):
        return F.linear(input, self.weight, self.bias)


class LayerNorm(torch.nn.LayerNorm):
    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


_REASONS = {
    "attention: not written yet": """MultiheadAttention Transformer TransformerDecoder
        TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer""",
    "recurrence: not written yet": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "convolution: not written yet": """Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d
        ConvTranspose3d Fold Unfold""",
    "pooling: not written yet": """AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d
        FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d
        MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d""",
    "normalisation: not written yet": """BatchNorm1d BatchNorm2d BatchNorm3d CrossMapLRN2d GroupNorm
        InstanceNorm1d InstanceNorm2d InstanceNorm3d LocalResponseNorm RMSNorm SyncBatchNorm""",
    "embedding: not written yet": "Embedding EmbeddingBag",
    "noise: not written yet": """AlphaDropout Dropout Dropout1d Dropout2d Dropout3d
        FeatureAlphaDropout RReLU""",
    "activation: not written yet": """GLU Softmax2d Softmin Softshrink Tanhshrink
        Threshold""",
    "bilinear forms and distances: not written yet": "Bilinear CosineSimilarity PairwiseDistance",
    "lazy: torch's own become torch's modules at the first call": """LazyBatchNorm1d LazyBatchNorm2d
        LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d
        LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear""",
    "resampling: not written yet": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    "moves elements and computes nothing": """ChannelShuffle CircularPad1d CircularPad2d
        CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Flatten Identity
        PixelShuffle PixelUnshuffle
        ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
        ReplicationPad3d Unflatten ZeroPad1d ZeroPad2d ZeroPad3d""",
    "a container": """Container DataParallel Module ModuleDict ModuleList ParameterDict
        ParameterList Sequential""",
    "adaptive softmax: not written yet": "AdaptiveLogSoftmaxWithLoss",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()} | _losses.GAPS
