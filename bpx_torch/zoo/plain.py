"""Formulas in plain operations of torch, for correct candidates to be held against."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + torch.tanh(inner))
    return 0.5 * x * torch.special.erfc(-x * 0.5**0.5)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return torch.where(x * beta > threshold, x, torch.logaddexp(beta * x, 0 * x) / beta)


def elu(x: Any, alpha: float = 1.0) -> Any:
    return torch.where(x > 0, x, alpha * torch.expm1(torch.where(x > 0, 0.0, x)))


def selu(x: Any) -> Any:
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def softmax(x: Any) -> Any:
    e = torch.exp(x - x.amax(-1, keepdim=True).detach())
    return e / e.sum(-1, keepdim=True)


def log_softmax(x: Any) -> Any:
    x = x - x.amax(-1, keepdim=True).detach()
    return x - torch.log(torch.exp(x).sum(-1, keepdim=True))


def logsumexp(x: Any) -> Any:
    top = x.amax(-1, keepdim=True).detach()
    return torch.log(torch.exp(x - top).sum(-1)) + top[..., 0]


def normalized(x: Any, dims: Any, eps: float) -> Any:
    c = x - x.mean(dims, keepdim=True)
    return c / torch.sqrt((c * c).mean(dims, keepdim=True) + eps)


def layer_norm(x: Any, w: Any, b: Any, eps: float = 1e-5) -> Any:
    return normalized(x, -1, eps) * w + b


def rms_norm(x: Any, w: Any, eps: float = 1e-5) -> Any:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def group_norm(x: Any, w: Any, b: Any) -> Any:
    groups = x.reshape(x.shape[0], 2, x.shape[1] // 2, -1)
    normal = normalized(groups, (-2, -1), 1e-5).reshape(x.shape)
    return normal * w[:, None] + b[:, None]


def cross_entropy(
    logits: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    logp = log_softmax(logits)
    kept = target != -100
    nll = -logp.gather(1, torch.where(kept, target, 0)[:, None])[:, 0]
    each = (1 - label_smoothing) * nll - label_smoothing * logp.mean(1)
    each = torch.where(kept, each, 0.0)
    if reduction == "mean":
        return each.sum() / kept.sum()
    return each.sum() if reduction == "sum" else each


def weighted_cross_entropy(
    logits: Any, target: Any, weight: Any, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    logp = log_softmax(logits)
    kept = target != -100
    label = torch.where(kept, target, 0)
    w = weight[label]
    nll = -logp.gather(1, label[:, None])[:, 0] * w
    smooth = -(logp * weight).sum(1) / logits.shape[1]
    each = torch.where(kept, (1 - label_smoothing) * nll + label_smoothing * smooth, 0.0)
    if reduction == "mean":
        return each.sum() / torch.where(kept, w, 0.0).sum()
    return each.sum() if reduction == "sum" else each


def linear(x: Any, w: Any, b: Any) -> Any:
    return torch.einsum("...i,oi->...o", x, w) + b


def conv1d(x: Any, w: Any, b: Any, stride: int = 1, padding: int = 0, dilation: int = 1) -> Any:
    zeros = x.new_zeros((*x.shape[:2], padding))
    x = torch.cat([zeros, x, zeros], -1)
    taps = w.shape[-1]
    n = (x.shape[-1] - dilation * (taps - 1) - 1) // stride + 1
    rows = [
        x[..., k * dilation : k * dilation + stride * (n - 1) + 1 : stride] for k in range(taps)
    ]
    return torch.einsum("kbil,oik->bol", torch.stack(rows), w) + b[:, None]


def conv2d(x: Any, w: Any, b: Any, stride: int = 1, padding: int = 0) -> Any:
    side = x.new_zeros((*x.shape[:3], padding))
    x = torch.cat([side, x, side], -1)
    top = x.new_zeros((*x.shape[:2], padding, x.shape[3]))
    x = torch.cat([top, x, top], -2)
    high = (x.shape[2] - w.shape[2]) // stride + 1
    wide = (x.shape[3] - w.shape[3]) // stride + 1
    y = b[:, None, None]
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            part = x[
                ...,
                i : i + stride * (high - 1) + 1 : stride,
                j : j + stride * (wide - 1) + 1 : stride,
            ]
            y = y + torch.einsum("bihw,oi->bohw", part, w[:, :, i, j])
    return y


def max_pool1d(x: Any, kernel_size: int = 2) -> Any:
    n = x.shape[-1] // kernel_size
    windows = x[..., : n * kernel_size].reshape(*x.shape[:-1], n, kernel_size)
    return windows.max(-1).values


def avg_pool1d(x: Any, kernel_size: int = 2) -> Any:
    n = x.shape[-1] // kernel_size
    return x[..., : n * kernel_size].reshape(*x.shape[:-1], n, kernel_size).mean(-1)


def avg_pool2d(x: Any) -> Any:
    return 0.25 * (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2])


def embedding(index: Any, w: Any) -> Any:
    return torch.einsum("nv,vd->nd", F.one_hot(index, w.shape[0]).to(w.dtype), w)


def attention(q: Any, k: Any, v: Any) -> Any:
    return softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5) @ v


def reduced(each: Any, reduction: str) -> Any:
    return {"mean": each.mean, "sum": each.sum, "none": lambda: each}[reduction]()


def mse(x: Any, t: Any, reduction: str = "mean") -> Any:
    return reduced((x - t) * (x - t), reduction)


def huber(x: Any, t: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    d = (x - t).abs()
    return reduced(torch.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def smooth_l1(x: Any, t: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    d = (x - t).abs()
    return reduced(torch.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta), reduction)


def kl_div(logp: Any, t: Any, reduction: str = "mean") -> Any:
    return reduced(t * (torch.log(t) - logp), reduction)


def bce_logits(x: Any, t: Any, reduction: str = "mean") -> Any:
    each = t * torch.logaddexp(-x, 0 * x) + (1 - t) * torch.logaddexp(x, 0 * x)
    return reduced(each, reduction)


def poisson(x: Any, t: Any, reduction: str = "mean") -> Any:
    return reduced(torch.exp(x) - t * x, reduction)


def gaussian(x: Any, t: Any, var: Any, reduction: str = "mean") -> Any:
    return reduced(0.5 * (torch.log(var) + (x - t) ** 2 / var), reduction)


def soft_margin(x: Any, t: Any, reduction: str = "mean") -> Any:
    return reduced(torch.logaddexp(-t * x, 0 * x), reduction)


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(-1) / torch.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def bilinear(a: Any, b: Any, w: Any) -> Any:
    return torch.einsum("ni,nj,oij->no", a, b, w)


def sigmoid(x: Any) -> Any:
    return torch.exp(-torch.logaddexp(-x, 0 * x))
