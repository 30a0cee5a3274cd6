"""linear_cross_entropy for PyTorch. Maths, shapes and source: bpx/fused/linear_cross_entropy.py."""

import torch

from bpx.fused.linear_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_torch._labels import over_labels
from bpx_torch._rule import Rule
from bpx_torch._vocabulary import (
    chunks,
    joined,
    logits,
    of_label,
    picked,
    prepared,
    product,
    pulled,
    row_losses,
    spread,
    unseen,
)


def forward(
    x,
    weight,
    target,
    bias,
    class_weight,
    *,
    ignore_index,
    reduction,
    label_smoothing,
    softcap,
    z_loss,
    num_items,
    chunk,
):
    v, s = weight.shape[0], label_smoothing
    x_rows, cw, rows = prepared(x, weight, target, class_weight, ignore_index)
    kept, zy, even = None, torch.zeros_like(rows[3]), 0.0
    for _, w, b, cw_part, at, here in chunks(weight, bias, cw, rows[2], chunk):
        z = logits(x_rows, w, b, softcap)
        kept = joined(kept, z)
        zy = picked(z, at, here, zy)
        if s:
            even = even + spread(z, cw_part)
    loss = row_losses(sum(kept), zy, even, rows, cw, v, s, z_loss)
    if reduction == "none":
        loss = loss.reshape(target.shape)
    elif reduction == "sum":
        loss = loss.sum()
    else:
        loss = over_labels(loss.sum(), rows[3]) if num_items is None else loss.sum() / num_items
    return loss.to(x.dtype), tuple(k.reshape(target.shape) for k in kept)


def backward(
    dy,
    arrays,
    residuals,
    needs,
    *,
    ignore_index,
    reduction,
    label_smoothing,
    softcap,
    z_loss,
    num_items,
    chunk,
):
    # With lse = top + mass, p = exp(z - top - mass), s = label_smoothing, g = dy (over the count
    # in a mean) and
    # pull = (1 - s) wy + 2 z_loss wy lse + s/V sum(class_weight), the weight of a row's lse:
    #   dz = g * (pull * p                          through lse
    #             - (1 - s) wy onehot(target)       through the label's logit
    #             - s/V class_weight)               through the smoothed logits
    #   dlogits = dz * (1 - (z / softcap)^2)
    #   dx = dlogits weight,  dweight = dlogits^T x,  dbias = sum(dlogits)
    #   dclass_weight[c] = sum of g * ((1 - s) (lse - z[target]) + z_loss lse^2) over label c
    #                      - sum of g * y over it, in a mean over labels    through sum(wy)
    #                      + sum of g * s/V (lse - z[c]) over all rows that count
    x, weight, target, bias, class_weight = arrays
    v, s = weight.shape[0], label_smoothing
    x_rows, cw, rows = prepared(x, weight, target, class_weight, ignore_index)
    ignored, _, label, wy = rows
    top, mass = (r.reshape(-1) for r in residuals)
    lse = top + mass
    g = dy.to(wy.dtype).reshape(-1)
    mean_over_labels = reduction == "mean" and num_items is None
    if mean_over_labels:
        g = over_labels(g, wy)
    elif reduction == "mean":
        g = g / num_items
    g = g.expand(wy.shape).masked_fill(ignored, 0.0)
    hit = (1 - s) * wy
    pull = hit + 2 * z_loss * wy * lse if z_loss else hit
    if s:
        pull = pull + s / v * (v if cw is None else cw.sum())
    pull, hit, even_pull = (g * pull).unsqueeze(-1), (-g * hit).unsqueeze(-1), s / v * g

    own = unseen() and softcap is None and not needs[4]  # z has no other use
    dx, dweight, dbias, dspread = None, [], [], []
    zy, even = torch.zeros_like(wy), 0.0
    for _, w, b, cw_part, at, here in chunks(weight, bias, cw, label, chunk):
        z = logits(x_rows, w, b, softcap)
        d = pulled(z, top.unsqueeze(-1), mass.unsqueeze(-1), pull, own)
        d.scatter_add_(-1, at.unsqueeze(-1), torch.where(here.unsqueeze(-1), hit, 0.0))
        if s:
            even_part = even_pull.unsqueeze(-1)
            d = d - (even_part if cw_part is None else even_part * cw_part)
        if needs[4]:
            zy = picked(z, at, here, zy)
            if s:
                even = even + spread(z, cw_part)
                dspread.append((even_pull.unsqueeze(-1) * (lse.unsqueeze(-1) - z)).sum(0))
        if softcap is not None:
            d = d * (1 - (z / softcap).square())
        if needs[3]:
            dbias.append(d.sum(0))
        d = d.to(weight.dtype)
        dx = product(d, w, dx) if needs[0] else None
        if needs[1]:
            dweight.append(product(d.T, x_rows).to(weight.dtype))

    dclass_weight = None
    if needs[4]:
        dwy = of_label(lse, zy, s, z_loss)
        if mean_over_labels:
            loss = row_losses(lse, zy, even, rows, cw, v, s, z_loss)
            dwy = dwy - over_labels(loss.sum(), wy)
        dwy = (g * dwy + 0 * wy).masked_fill(ignored, 0.0)  # 0 * wy: NaN for a label out of range
        dclass_weight = torch.zeros_like(cw).index_add(0, label, dwy)
        dclass_weight = dclass_weight + torch.cat(dspread) if s else dclass_weight
    return (
        dx.reshape(x.shape) if needs[0] else None,
        torch.cat(dweight) if needs[1] else None,
        None,
        torch.cat(dbias) if needs[3] else None,
        dclass_weight,
    )


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.linear_cross_entropy", early=True),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.linear_cross_entropy", early=True),
        Kernel("plain", forward, backward),
    ),
    autocast="float32",
)


def linear_cross_entropy(
    x,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    softcap=None,
    z_loss=0.0,
    num_items=None,
    chunk=4096,
):
    """Cross-entropy of x weight^T + bias with the labels target, without the logits in memory;
    x (*N D), weight (V D), target (*N, integers), bias (V), class_weight (V).
    Maths: bpx/fused/linear_cross_entropy.py."""
    return RULE(
        x,
        weight,
        target,
        bias,
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        softcap=softcap,
        z_loss=z_loss,
        num_items=num_items,
        chunk=chunk,
    )
