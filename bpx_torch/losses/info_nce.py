"""info_nce for PyTorch. Maths, shapes and source: bpx/losses/info_nce.py."""

import torch

from bpx.losses.info_nce import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def widened(query, key):
    query = at_least_float32(query)
    return query, key.to(query.dtype)


def forward(query, key, *, temperature, reduction):
    q, k = widened(query, key)
    s = (q / temperature) @ k.mT
    # lse(s) - s_ii, with no large lse to cancel where the pair is found
    loss = torch.logsumexp(s - s.diagonal().unsqueeze(-1), -1)
    return reduce(loss, reduction).to(query.dtype), ()


def pulls(q, k, temperature):
    """dloss / ds: softmax(s) - 1, with minus the sum of the others on the diagonal."""
    p = torch.softmax((q / temperature) @ k.mT, -1)
    others = torch.diagonal_scatter(p, p.new_zeros(len(p)))
    return torch.diagonal_scatter(others, -others.sum(-1))


def backward(dy, arrays, residuals, needs, *, temperature, reduction):
    # With g = dy (over the number of rows in a mean), and w = softmax(s) - 1:
    #   dquery = g w key / temperature,  dkey = w^T g query / temperature
    q, k = widened(*arrays)
    g = (each(dy.to(q.dtype), len(q), reduction) / temperature).unsqueeze(-1)
    w = pulls(q, k, temperature)
    return g * (w @ k) if needs[0] else None, w.mT @ (g * q) if needs[1] else None


def tangent(tangents, arrays, residuals, *, temperature, reduction):
    # row by row: (softmax(s) - 1) . ts,  ts = (tquery key^T + query tkey^T) / temperature
    q, k = widened(*arrays)
    tq, tk = tangents
    ts = torch.zeros_like(q @ k.mT)
    ts = ts if tq is None else ts + tq.to(q.dtype) @ k.mT / temperature
    ts = ts if tk is None else ts + q @ tk.to(q.dtype).mT / temperature
    return reduce((pulls(q, k, temperature) * ts).sum(-1), reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.info_nce", early=True),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def info_nce(query, key, *, temperature=1.0, reduction="mean"):
    """-log softmax(query key^T / temperature) at the diagonal; query, key (N D). Maths:
    bpx/losses/info_nce.py."""
    return RULE(query, key, temperature=temperature, reduction=reduction)
