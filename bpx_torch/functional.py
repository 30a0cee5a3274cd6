"""torch.nn.functional's names and signatures over the rules of bpx.

`inplace=True` is taken and gives the same value; the input keeps its own, since a rule may have
saved it. Inputs are floating: torch computes the piecewise functions for integers too. GAPS has a
reason for every other function of torch.nn.functional.
"""

import math
import warnings

from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_torch import _functional_losses as _losses
from bpx_torch import _functional_pooling as _pooling
from bpx_torch import _functional_resampling as _resampling
from bpx_torch import _gaps
from bpx_torch._functional_attention import multi_head_attention_forward  # noqa: F401
from bpx_torch._functional_attention_layout import scaled_dot_product_attention  # noqa: F401
from bpx_torch._functional_compositions import (  # noqa: F401
    alpha_dropout,
    conv_tbc,
    feature_alpha_dropout,
    gumbel_softmax,
    multilabel_soft_margin_loss,
    rrelu,
    triplet_margin_with_distance_loss,
)
from bpx_torch._functional_conv import conv1d as conv1d
from bpx_torch._functional_conv import conv2d as conv2d
from bpx_torch._functional_conv import conv3d as conv3d
from bpx_torch._functional_conv import conv_transpose1d as conv_transpose1d
from bpx_torch._functional_conv import conv_transpose2d as conv_transpose2d
from bpx_torch._functional_conv import conv_transpose3d as conv_transpose3d
from bpx_torch._functional_ctc import ctc_loss as ctc_loss
from bpx_torch._functional_dropout import dropout as dropout
from bpx_torch._functional_dropout import dropout1d as dropout1d
from bpx_torch._functional_dropout import dropout2d as dropout2d
from bpx_torch._functional_dropout import dropout3d as dropout3d
from bpx_torch._functional_embedding import embedding as embedding
from bpx_torch._functional_embedding import embedding_bag as embedding_bag
from bpx_torch._functional_fused import linear_cross_entropy as linear_cross_entropy
from bpx_torch._functional_gated import glu as glu
from bpx_torch._functional_losses import (  # noqa: F401
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from bpx_torch._functional_losses_more import (  # noqa: F401
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    multi_margin_loss,
    nll_loss,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from bpx_torch._functional_normalization import (  # noqa: F401
    batch_norm,
    group_norm,
    instance_norm,
    rms_norm,
)
from bpx_torch._functional_pairs import bilinear, cosine_similarity  # noqa: F401
from bpx_torch._functional_pooling import (  # noqa: F401
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from bpx_torch._functional_resampling import (  # noqa: F401
    interpolate,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from bpx_torch._functional_shrinkage import softshrink as softshrink
from bpx_torch._functional_shrinkage import tanhshrink as tanhshrink
from bpx_torch._functional_shrinkage import threshold as threshold
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


@profiled("softplus")
def softplus(input, beta=1, threshold=20):
    return smooth.softplus(input, beta=beta, threshold=threshold)


def logsigmoid(input):
    return smooth.log_sigmoid(input)


def silu(input, inplace=False):
    return smooth.silu(input)


def mish(input, inplace=False):
    return smooth.mish(input)


@profiled("gelu")
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


@profiled("leaky_relu")
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


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    return _over(_softmax.softmax, "softmin", -input, dim, _stacklevel, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    return _over(_log_softmax.log_softmax, "log_softmax", input, dim, _stacklevel, dtype)


@profiled("layer_norm")
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


GAPS = (
    {name: reason for reason, names in _gaps.FUNCTIONS.items() for name in names.split()}
    | _losses.GAPS
    | _pooling.GAPS
    | _resampling.GAPS
)
