"""torch.nn.functional's names and signatures over the rules of bpx.

`inplace=True` is taken and gives the same value; the input keeps its own, since a rule may have
saved it. Inputs are floating: torch computes the piecewise functions for integers too. GAPS has a
reason for every other function of torch.nn.functional.
"""

import math
import warnings

from bpx.spec import SpecError
from bpx_torch import _functional_losses as _losses
from bpx_torch._functional_losses import (
    binary_cross_entropy as binary_cross_entropy,
)
from bpx_torch._functional_losses import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from bpx_torch._functional_losses import (
    cross_entropy as cross_entropy,
)
from bpx_torch._functional_losses import (
    huber_loss as huber_loss,
)
from bpx_torch._functional_losses import (
    l1_loss as l1_loss,
)
from bpx_torch._functional_losses import (
    mse_loss as mse_loss,
)
from bpx_torch._functional_losses import (
    smooth_l1_loss as smooth_l1_loss,
)
from bpx_torch.activations import exponential, piecewise, smooth
from bpx_torch.layers import layer_norm as _layer_norm
from bpx_torch.layers import linear as _linear
from bpx_torch.layers import log_softmax as _log_softmax
from bpx_torch.layers import prelu as _prelu
from bpx_torch.layers import softmax as _softmax


def sigmoid(input):
    return smooth.sigmoid(input)


def tanh(input):
    return smooth.tanh(input)


def softplus(input, beta=1, threshold=20):
    return smooth.softplus(input, beta=beta, threshold=threshold)


def logsigmoid(input):
    return smooth.log_sigmoid(input)


def silu(input, inplace=False):
    return smooth.silu(input)


def mish(input, inplace=False):
    return smooth.mish(input)


def gelu(input, *, approximate="none"):
    return smooth.gelu(input, approximate=approximate)


def softsign(input):
    return smooth.softsign(input)


def elu(input, alpha=1.0, inplace=False):
    return exponential.elu(input, alpha=alpha)


def selu(input, inplace=False):
    return exponential.selu(input)


def celu(input, alpha=1.0, inplace=False):
    return exponential.celu(input, alpha=alpha)


def relu(input, inplace=False):
    return piecewise.relu(input)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    return piecewise.leaky_relu(input, negative_slope=negative_slope)


def relu6(input, inplace=False):
    return piecewise.relu6(input)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    return piecewise.hardtanh(input, min_val=min_val, max_val=max_val)


def hardsigmoid(input, inplace=False):
    return piecewise.hardsigmoid(input)


def hardswish(input, inplace=False):
    return piecewise.hardswish(input)


def hardshrink(input, lambd=0.5):
    return piecewise.hardshrink(input, lambd=lambd)


def linear(input, weight, bias=None):
    return _linear.linear(input, weight, bias)


def prelu(input, weight):
    return _prelu.prelu(input, weight.reshape(1) if weight.ndim == 0 else weight)


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    return _over(_softmax.softmax, "softmax", input, dim, _stacklevel, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    return _over(_log_softmax.log_softmax, "log_softmax", input, dim, _stacklevel, dtype)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Over the last len(normalized_shape) axes, which the rule sees as one."""
    shape = tuple(normalized_shape)
    n = len(shape)
    if not n or tuple(input.shape[-n:]) != shape:
        raise SpecError(
            f"layer_norm: normalized_shape is {shape}, expected the last dims of x, which has "
            f"shape {tuple(input.shape)}"
        )
    for name, a in (("weight", weight), ("bias", bias)):
        if a is not None and tuple(a.shape) != shape:
            raise SpecError(f"layer_norm: {name} has shape {tuple(a.shape)}, expected {shape}")
    if n == 1:
        return _layer_norm.layer_norm(input, weight, bias, eps=eps)
    features = math.prod(shape)
    rows = input.reshape((*input.shape[:-n], features))
    weight = None if weight is None else weight.reshape(features)
    bias = None if bias is None else bias.reshape(features)
    return _layer_norm.layer_norm(rows, weight, bias, eps=eps).reshape(input.shape)


def _over(rule, name, input, dim, stacklevel, dtype):
    """One axis of an input that may be a scalar; without `dim` torch's deprecated choice of it."""
    if dim is None:
        warnings.warn(
            f"{name}: dim is None, which torch takes for 0 or 1 by the number of dims; say dim=",
            stacklevel=stacklevel,
        )
        dim = 0 if input.ndim in (0, 1, 3) else 1
    x = input if dtype is None else input.to(dtype)
    if x.ndim == 0 and dim in (-1, 0):
        return rule(x.reshape(1), dim=0).reshape(())
    return rule(x, dim=dim)


_REASONS = {
    "attention: not written yet": "scaled_dot_product_attention multi_head_attention_forward",
    "convolution: not written yet": """conv1d conv2d conv3d conv_tbc conv_transpose1d
        conv_transpose2d conv_transpose3d fold unfold""",
    "pooling: not written yet": """avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
        max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices max_unpool1d
        max_unpool2d max_unpool3d lp_pool1d lp_pool2d lp_pool3d adaptive_avg_pool1d
        adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
        adaptive_max_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
        adaptive_max_pool3d_with_indices fractional_max_pool2d fractional_max_pool3d
        fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices""",
    "normalisation: not written yet": """batch_norm group_norm instance_norm local_response_norm
        rms_norm normalize""",
    "embedding: not written yet": "embedding embedding_bag one_hot",
    "noise: not written yet": """dropout dropout1d dropout2d dropout3d alpha_dropout
        feature_alpha_dropout gumbel_softmax rrelu""",
    "activation: not written yet": "glu softmin softshrink tanhshrink threshold",
    "bilinear forms and distances: not written yet": """bilinear cosine_similarity pairwise_distance
        pdist""",
    "resampling: not written yet": """affine_grid grid_sample interpolate upsample
        upsample_bilinear upsample_nearest""",
    "moves elements and computes nothing": """channel_shuffle native_channel_shuffle pad
        pixel_shuffle pixel_unshuffle""",
    "scaled or grouped matrix product: not written yet": "grouped_mm scaled_grouped_mm scaled_mm",
    "changes its input in place, which a rule may have saved": """celu_ elu_ hardtanh_ leaky_relu_
        relu_ rrelu_ selu_ threshold_""",
    "machinery of torch, no function of tensors": """assert_int_or_pair boolean_dispatch
        handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()} | _losses.GAPS
