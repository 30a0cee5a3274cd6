"""The activations of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone.
"""

import torch

from bpx_torch import functional as F
from bpx_torch._profiles import profiled_module
from bpx_torch.activations.piecewise import relu_squared


class Sigmoid(torch.nn.Sigmoid):
    def forward(self, input):
        return F.sigmoid(input)


class Tanh(torch.nn.Tanh):
    def forward(self, input):
        return F.tanh(input)


@profiled_module("softplus")
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


@profiled_module("gelu")
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


@profiled_module("leaky_relu")
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


@profiled_module("prelu")
class PReLU(torch.nn.PReLU):
    def forward(self, input):
        return F.prelu(input, self.weight)


class Softmax(torch.nn.Softmax):
    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(torch.nn.LogSoftmax):
    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)
