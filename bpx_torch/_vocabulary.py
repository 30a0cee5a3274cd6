"""What a linear layer with a cross-entropy takes from one walk over the vocabulary, in chunks.

A row's loss, in what the walk over the vocabulary leaves of its logits (s is label_smoothing):
    wy ((1 - s) (lse - z[target]) + z_loss lse^2) + s/V (sum(class_weight) lse - class_weight . z)
"""

import torch
from torch.autograd import forward_ad

from bpx_torch._dtype import at_least_float32, finite
from bpx_torch._labels import labels


def product(a, b, added=None):
    """a b, and `added`, in float32 at least; a and b have one dtype. torch's product would round to
    it: on a GPU it is told not to, elsewhere the factors are widened."""
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        if added is None:
            return torch.mm(a, b, out_dtype=torch.float32)
        return torch.addmm(added, a, b, out_dtype=torch.float32)
    found = at_least_float32(a) @ at_least_float32(b)
    return found if added is None else added + found


def product_into(total, a, b):
    """total + a b, written over total where it is given: the sum is as wide as `product`."""
    if total is None:
        return product(a, b)
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        return torch.addmm(total, a, b, out_dtype=torch.float32, out=total)
    return total.addmm_(at_least_float32(a), at_least_float32(b))


def prepared(x, weight, target, class_weight, ignore_index):
    """One axis of rows: x in the dtype of weight and 0 where ignored, what labels() finds, and the
    class weights in the dtype of sums."""
    wide = at_least_float32(weight[:0]).dtype
    cw = None if class_weight is None else class_weight.to(wide)
    rows = labels(target.reshape(-1), weight.shape[0], cw, ignore_index, wide)
    x = x.reshape(target.numel(), x.shape[-1]).to(weight.dtype)
    return x.masked_fill(rows[0].unsqueeze(-1), 0.0), cw, rows


def chunks(weight, bias, class_weight, label, chunk):
    """For every chunk of the vocabulary its place, weight, bias and class weights, where each row's
    label lies in it, and whether it does."""
    for start in range(0, weight.shape[0], chunk):
        part = slice(start, min(start + chunk, weight.shape[0]))
        b, cw = (None if v is None else v[part] for v in (bias, class_weight))
        at = label - start
        last = part.stop - start - 1
        yield part, weight[part], b, cw, at.clamp(0, last), (at >= 0) & (at <= last)


def logits(x, weight, bias, softcap):
    z = product(x, weight.T)
    z = z if bias is None else z + bias.to(z.dtype)
    return z if softcap is None else softcap * torch.tanh(z / softcap)


def picked(z, at, here, so_far):
    """z at the labels that lie here."""
    return torch.where(here, z.gather(-1, at.unsqueeze(-1)).squeeze(-1), so_far)


def spread(z, class_weight):
    """class_weight . z of each row."""
    return (z if class_weight is None else z * class_weight).sum(-1)


def joined(so_far, z):
    """(top, mass) of the rows, the largest logit and log(sum(exp(z - top))), with those of a chunk,
    which are -inf where all its classes are masked."""
    top = z.amax(-1)
    mass = torch.logsumexp(z - finite(top).unsqueeze(-1), -1)
    if so_far is None:
        return top, mass
    both = torch.maximum(so_far[0], top)
    below, beside = so_far[0] - finite(both), top - finite(both)
    return both, torch.logaddexp(so_far[1] + below, mass + beside)


def of_label(lse, zy, s, z_loss):
    """What the weight of a row's label multiplies."""
    kept = (1 - s) * (lse - zy)
    return kept + z_loss * lse.square() if z_loss else kept


def row_losses(lse, zy, even, rows, class_weight, classes, s, z_loss):
    ignored, _, _, wy = rows
    loss = wy * of_label(lse, zy, s, z_loss)
    if s:
        whole = classes if class_weight is None else class_weight.sum()
        loss = loss + s / classes * (whole * lse - even)
    return loss.masked_fill(ignored, 0.0)


def unseen():
    """Whether nothing differentiates or transforms this call: an array may be written to."""
    seen = torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
    return not seen and forward_ad._current_level < 0


def pulled(z, top, mass, pull, own):
    """pull exp(z - lse), written over z where that is `own`: memory is what a chunk costs."""
    if own:
        return z.sub_(top).sub_(mass).exp_().mul_(pull)
    return pull * torch.exp(z - top - mass)
