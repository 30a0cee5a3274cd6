"""torch's own functions, each beside a plain formula: correct candidates.

None may raise an alarm. Kinks are "free" where the formula's convention there is not torch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from bpx.verify import Float, Index
from bpx.verify.zoo import Correct
from bpx_torch.zoo.plain import (
    attention,
    avg_pool1d,
    avg_pool2d,
    bce_logits,
    bilinear,
    conv1d,
    conv2d,
    cosine,
    cross_entropy,
    elu,
    embedding,
    gaussian,
    gelu,
    group_norm,
    huber,
    kl_div,
    layer_norm,
    linear,
    log_softmax,
    logsumexp,
    max_pool1d,
    mse,
    poisson,
    reduced,
    rms_norm,
    selu,
    sigmoid,
    smooth_l1,
    soft_margin,
    softmax,
    softplus,
    weighted_cross_entropy,
)

ANY = [Float("*N")]
# torch keeps the output y of these and computes 1 - y: no digit is left far out
NEAR = [Float("*N", low=-4.0, high=4.0)]
ROWS = [Float("N", "D")]
PAIR = [Float("N", "D"), Float("N", "D")]
REDUCTIONS = {"reduction": ["mean", "sum", "none"]}
OPEN = {"kinks": "free"}


def _of(name: str, args: Any, ref: Any, options: Any = None, **how: Any) -> Correct:
    return Correct(name, getattr(F, name), args, {"ref": ref, "options": options or {}, **how})


_POINTWISE = (
    _of("gelu", ANY, gelu, {"approximate": ["none", "tanh"]}),
    _of("silu", ANY, lambda x: x * sigmoid(x)),
    _of("mish", ANY, lambda x: x * torch.tanh(softplus(x))),
    _of("softplus", ANY, softplus, {"beta": [1.0, 2.0]}),
    _of("logsigmoid", ANY, lambda x: -torch.logaddexp(-x, 0 * x)),
    _of("softsign", ANY, lambda x: x / (1 + x.abs())),
    _of("tanhshrink", ANY, lambda x: x - torch.tanh(x)),
    _of("elu", [Float("*N", at=(0,))], elu, {"alpha": [1.0, 0.5]}),
    _of("celu", [Float("*N", at=(0,))], lambda x, alpha: elu(x / alpha) * alpha,
        {"alpha": [1.0, 0.5]}),
    _of("selu", ANY, selu, **OPEN),
    _of("relu", [Float("*N", at=(0,))], lambda x: torch.where(x > 0, x, 0.0)),
    _of("leaky_relu", ANY, lambda x, negative_slope: torch.where(x > 0, x, x * negative_slope),
        {"negative_slope": [0.01, 0.3]}),
    _of("relu6", ANY, lambda x: torch.where(x <= 0, 0.0, torch.where(x >= 6, 6.0, x))),
    _of("hardtanh", ANY, lambda x: torch.where(x <= -1, -1.0, torch.where(x >= 1, 1.0, x))),
    _of("hardswish", ANY, lambda x: x * (x / 6 + 0.5).clamp(0, 1), **OPEN),
    _of("hardshrink", ANY, lambda x: torch.where(x.abs() > 0.5, x, 0.0)),
    _of("softshrink", ANY,
        lambda x: torch.where(x > 0.5, x - 0.5, torch.where(x < -0.5, x + 0.5, 0.0))),
    _of("threshold", ANY, lambda x, threshold, value: torch.where(x > threshold, x, value),
        {"threshold": 0.1, "value": 20.0}),
    _of("sigmoid", NEAR, sigmoid),
    _of("glu", [Float("N", "D")], lambda x: x[..., ::1][..., : x.shape[-1] // 2]
        * sigmoid(x[..., x.shape[-1] // 2 :]), sizes={"D": (4, 2, 10)}),
    *(
        Correct(name, getattr(torch, name), [Float("*N", low=low, high=high)], {"ref": ref})
        for name, low, high, ref in (
            ("tanh", -2.0, 2.0, lambda x: 2 * sigmoid(2 * x) - 1),
            ("exp", None, 30.0, lambda x: torch.e**x),
            ("sin", -4.0, 4.0, lambda x: torch.cos(x - torch.pi / 2)),
            ("sqrt", 0.1, None, lambda x: x**0.5),
            ("log", 0.1, None, lambda x: torch.log2(x) * 0.6931471805599453),
            ("reciprocal", 0.1, None, lambda x: 1 / x),
            ("square", None, None, lambda x: x * x),
            ("atan", None, None, lambda x: torch.atan2(x, torch.ones_like(x))),
            ("erf", None, None, lambda x: 1 - torch.special.erfc(x)),
            ("log1p", 0.1, None, lambda x: torch.log(1 + x)),
        )
    ),
)  # fmt: skip
_ROWWISE = (
    _of("softmax", ROWS, lambda x, dim: softmax(x), {"dim": -1}),
    _of("log_softmax", ROWS, lambda x, dim: log_softmax(x), {"dim": -1}),
    Correct("layer_norm", lambda x, w, b: F.layer_norm(x, w.shape, w, b),
            [Float("*N D"), Float("D"), Float("D")],
            {"ref": layer_norm, "sizes": {"D": (5, 3, 9, 8, 17)}}),
    Correct("rms_norm", lambda x, w: F.rms_norm(x, w.shape, w, 1e-5), [Float("*N D"), Float("D")],
            {"ref": rms_norm}),
    Correct("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b),
            [Float("N C L"), Float("C"), Float("C")], 
            {"ref": group_norm, "sizes": {"C": (4, 6), "L": (5, 3, 1, 9)}}),
    Correct("mean", lambda x: x.mean(-1), ROWS, {"ref": lambda x: x.sum(-1) / x.shape[-1]}),
    Correct("cumsum", lambda x: x.cumsum(-1), ROWS,
            {"ref": lambda x: x @ torch.ones(x.shape[-1], x.shape[-1], dtype=x.dtype).triu(),
             "sizes": {"D": (5, 3, 9)}}),
)  # fmt: skip
_LINEAR = (
    _of("linear", [Float("*N I"), Float("O I"), Float("O")], linear),
    # in half precision: FOUND
    _of("bilinear", [Float("N I"), Float("N J"), Float("O I J")], bilinear, dtypes=("float32",)),
    _of("conv1d", [Float("N C L"), Float("O C 3"), Float("O")], conv1d,
        {"stride": [1, 2], "padding": [0, 1], "dilation": [1, 2]},
        sizes={"C": (5, 1, 3), "L": (7, 8, 11)}),
    _of("conv2d", [Float("N C H W"), Float("O C 2 3"), Float("O")], conv2d,
        {"stride": [1, 2], "padding": [0, 1]}, sizes={"C": (3, 1, 4), "H": (4, 5), "W": (6, 5)}),
    _of("max_pool1d", [Float("N C L")], max_pool1d, {"kernel_size": [2, 3]},
        sizes={"L": (6, 7, 9)}),
    _of("avg_pool1d", [Float("N C L")], avg_pool1d, {"kernel_size": [2, 3]},
        sizes={"L": (6, 7, 9)}),
    Correct("avg_pool2d", lambda x: F.avg_pool2d(x, 2), [Float("N C H W")],
            {"ref": avg_pool2d, "sizes": {"H": (4, 6), "W": (6, 2)}}),
    _of("embedding", [Index("N", below="V"), Float("V D")], embedding),
    _of("scaled_dot_product_attention", [Float("2 S E"), Float("2 T E"), Float("2 T E")],
        attention),
    _of("cosine_similarity", PAIR, cosine, sizes={"D": (5, 3)}, **OPEN),
    Correct("matmul", torch.matmul, [Float("N I"), Float("I O")],
            {"ref": lambda a, b: torch.einsum("ni,io->no", a, b)}),
)  # fmt: skip
_LABELS = [Float("N V"), Index("N", below="V", ignore=-100)]
_LOSSES = (
    _of("cross_entropy", _LABELS, cross_entropy, {**REDUCTIONS, "label_smoothing": [0.0, 0.1]}),
    Correct("cross_entropy weighted",
            lambda x, t, w, **how: F.cross_entropy(x, t, w, **how),
            [*_LABELS, Float("V", low=0.1, high=2.0, grad=False)],
            {"ref": weighted_cross_entropy,
             "options": {**REDUCTIONS, "label_smoothing": [0.0, 0.1]}}),
    _of("mse_loss", PAIR, mse, REDUCTIONS),
    _of("l1_loss", PAIR, lambda x, t, reduction: reduced((x - t).abs(), reduction), REDUCTIONS),
    _of("huber_loss", PAIR, huber, {**REDUCTIONS, "delta": [1.0, 0.3]}),
    _of("smooth_l1_loss", PAIR, smooth_l1, {**REDUCTIONS, "beta": [1.0, 0.3]}),
    _of("kl_div", [Float("N D"), Float("N D", low=0.1, high=1.0)], kl_div, REDUCTIONS),
    _of("binary_cross_entropy_with_logits", [Float("N D"), Float("N D", low=0.0, high=1.0)],
        bce_logits, REDUCTIONS),
    Correct("poisson_nll_loss",
            lambda x, t, **how: F.poisson_nll_loss(x, t, log_input=True, **how),
            [Float("N D", high=30.0), Float("N D", low=0.0)],
            {"ref": poisson, "options": REDUCTIONS}),
    _of("gaussian_nll_loss", [*PAIR, Float("N D", low=0.1)], gaussian, REDUCTIONS),
    _of("soft_margin_loss", [Float("N D", low=-4.0, high=4.0),
        Float("N D", low=-2.0, high=2.0, grad=False)], soft_margin, REDUCTIONS),
)  # fmt: skip
# What the kit says of torch itself, each a fact about torch 2.13 and no false alarm
FOUND: dict[str, Correct] = {
    "in float64 the slope is 1/6 as float32 has it": _of(
        "hardsigmoid", ANY, lambda x: (x / 6 + 0.5).clamp(0, 1), **OPEN
    ),
    "the slope is y (1 - y) of the rounded y, far out 0": _of("sigmoid", ANY, sigmoid),
    "the gradient is exp(x - y) of the rounded y": Correct(
        "logsumexp", lambda x: torch.logsumexp(x, -1), ROWS,
        {"ref": logsumexp, "sizes": {"D": (5, 3, 9)}},
    ),
    "exp overflows where log1p(exp) is a number": _of(
        "soft_margin_loss", [Float("N D"), Float("N D", grad=False)], soft_margin
    ),
    "no channels give another shape": _of(
        "conv1d", [Float("N C L"), Float("O C 3"), Float("O")], conv1d,
        sizes={"C": (5, 1, 0), "L": (7, 8, 11)},
    ),
    "gradients of both inputs are summed over the outputs in half precision": _of(
        "bilinear", [Float("N I"), Float("N J"), Float("O I J")], bilinear,
        sizes={"O": (4097, 5, 3)}, only="dtype",
    ),
}  # fmt: skip
CORRECT = (*_POINTWISE, *_ROWWISE, *_LINEAR, *_LOSSES)
