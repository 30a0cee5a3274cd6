"""ctc_loss for PyTorch. Maths, shapes and source: bpx/losses/ctc.py.

One step of a few operations over the whole batch for each frame, forwards and backwards.
"""

import torch
import torch.nn.functional as F

from bpx.losses.ctc import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def places(targets, lengths, frames, classes, blank):
    """(labels of the places, where a place is entered from two before, where anything is out of
    range, the two lengths within range)."""
    t_n, u_n = (n.long() for n in lengths)
    targets = targets.long()
    used = torch.arange(targets.shape[-1], device=targets.device) < u_n.unsqueeze(-1)
    wrong = (targets < 0) | (targets >= classes)
    outside = (t_n < 0) | (t_n > frames) | (u_n < 0) | (u_n > targets.shape[-1])
    outside = outside | (wrong & used).any(-1)
    targets = targets.masked_fill(wrong, blank)
    between = torch.full_like(targets, blank)
    ends = torch.full_like(u_n.unsqueeze(-1), blank)
    labels = torch.cat([torch.stack([between, targets], -1).flatten(-2), ends], -1)
    never = torch.zeros_like(torch.cat([ends, ends], -1), dtype=torch.bool)
    jump = torch.cat([never, labels[..., 2:] != labels[..., :-2]], -1)[..., : labels.shape[-1]]
    return labels, jump, outside, t_n.clamp(0, frames), u_n.clamp(0, targets.shape[-1])


def log_sum_exp(*terms):
    """Over the terms, with -inf (and no gradient) where all of them are."""
    terms = torch.stack(terms)
    top = terms.amax(0).detach()
    dead = top == -torch.inf
    top = top.masked_fill(dead, 0.0)
    total = (terms - top).exp().sum(0).masked_fill(dead, 1.0)
    return (top + total.log()).masked_fill(dead, -torch.inf)


def arrivals(a, jump):
    """Log-probability of being about to enter each place: from itself, from one or two before."""
    two = F.pad(a, (2, 0), value=-torch.inf)
    return log_sum_exp(a, two[..., 1:-1], two[..., :-2].masked_fill(~jump, -torch.inf))


def departures(b, jump):
    """Log-probability of what follows each place: in itself, in one or two after."""
    one = F.pad(b, (0, 1), value=-torch.inf)[..., 1:]
    two = F.pad(b.masked_fill(~jump, -torch.inf), (0, 2), value=-torch.inf)[..., 2:]
    return log_sum_exp(b, one, two)


def emitted(log_probs, labels):
    return log_probs.gather(-1, labels.expand(log_probs.shape[0], *labels.shape))


def live(t_n, frames):
    """(T *N): the frames that count."""
    frame = torch.arange(frames, device=t_n.device)
    return frame.reshape(-1, *[1] * t_n.dim()) < t_n


def ended(states, u_n):
    """Loss from the log-probabilities of the places after the last frame."""
    last = states.gather(-1, 2 * u_n.unsqueeze(-1)).squeeze(-1)
    before = states.gather(-1, (2 * u_n - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -log_sum_exp(last, before.masked_fill(u_n == 0, -torch.inf))


def reduced(loss, u_n, reduction):
    if reduction == "mean":
        return (loss / u_n.clamp(min=1)).sum() / max(loss.numel(), 1)
    return loss.sum() if reduction == "sum" else loss


def forward(log_probs, targets, input_lengths, target_lengths, *, blank, reduction, zero_infinity):
    x, frames = at_least_float32(log_probs), log_probs.shape[0]
    lengths = (input_lengths, target_lengths)
    labels, jump, outside, t_n, u_n = places(targets, lengths, frames, x.shape[-1], blank)
    first = torch.arange(labels.shape[-1], device=x.device) == 0
    a = torch.zeros_like(labels, dtype=x.dtype).masked_fill(~first, -torch.inf)
    states, e, counts = [], emitted(x, labels), live(t_n, frames).unsqueeze(-1)
    for e_t, count in zip(e.unbind(0), counts.unbind(0), strict=True):
        a = torch.where(count, e_t + arrivals(a, jump), a)
        states.append(a)
    loss = ended(a, u_n)
    if zero_infinity:
        loss = loss.masked_fill(loss == torch.inf, 0.0)
    loss = loss.masked_fill(outside, torch.nan)
    return reduced(loss, u_n, reduction).to(log_probs.dtype), (torch.stack(states),)


def posteriors(arrays, alpha, blank, zero_infinity):
    """(probability of each place at each frame given the labels, labels, where it is undefined,
    target lengths)."""
    log_probs, targets, *lengths = arrays
    x, frames = at_least_float32(log_probs), log_probs.shape[0]
    labels, jump, outside, t_n, u_n = places(targets, lengths, frames, x.shape[-1], blank)
    place, end = torch.arange(labels.shape[-1], device=x.device), 2 * u_n.unsqueeze(-1)
    ends = (place == end) | ((place == end - 1) & (end > 0))
    b = torch.zeros_like(labels, dtype=x.dtype).masked_fill(~ends, -torch.inf)
    counts, after = live(t_n, frames), []
    for e_t, count in reversed(list(zip(emitted(x, labels), counts, strict=True))):
        after.append(b)
        b = torch.where(count.unsqueeze(-1), departures(e_t + b, jump), b)
    loss = ended(alpha[-1], u_n)
    impossible = loss == torch.inf
    together = alpha + torch.stack(after[::-1]) + loss.masked_fill(impossible, 0.0).unsqueeze(-1)
    occupied = together.exp().masked_fill(~counts.unsqueeze(-1), 0.0)
    undefined = outside if zero_infinity else outside | impossible
    return occupied, labels, counts & undefined, u_n


def backward(dy, arrays, residuals, needs, *, blank, reduction, zero_infinity):
    # With g = dy (over the number of items and max(L, 1) in a mean):
    #   dlog_probs[t, c] = -g sum over the places s of label c of P(s at t | labels)
    #   P(s at t | labels) = exp(alpha[t, s] + beta[t, s] + loss)
    #   beta[t, s] = log-probability of the rest of the labels after frame t, from place s
    occupied, labels, undefined, u_n = posteriors(arrays, *residuals, blank, zero_infinity)
    x = at_least_float32(arrays[0])
    g = dy.to(x.dtype)
    if reduction == "mean":
        g = g / max(u_n.numel(), 1) / u_n.clamp(min=1)
    each = -g.expand(u_n.shape).unsqueeze(-1) * occupied
    where = labels.expand(occupied.shape)
    dx = torch.zeros_like(x).scatter_add(-1, where, each)
    return dx.masked_fill(undefined.unsqueeze(-1), torch.nan), None, None, None


def tangent(tangents, arrays, residuals, *, blank, reduction, zero_infinity):
    # item by item: -sum over frames and places of P(s at t | labels) tlog_probs[t, l_s]
    occupied, labels, undefined, u_n = posteriors(arrays, *residuals, blank, zero_infinity)
    t = -(occupied * emitted(tangents[0].to(occupied.dtype), labels)).sum((0, -1))
    t = t.masked_fill(undefined.any(0), torch.nan)
    return reduced(t, u_n, reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.ctc"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    *,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Minus the log-probability, in log_probs (T *N C), of the labels targets (*N S, integers) of
    which target_lengths (*N) count, aligned with input_lengths (*N) frames. Maths:
    bpx/losses/ctc.py."""
    return RULE(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank=blank,
        reduction=reduction,
        zero_infinity=zero_infinity,
    )
