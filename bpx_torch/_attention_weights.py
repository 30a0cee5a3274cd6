"""Attention that gives its weights: the scores in one array, between two products for each head."""

import torch

from bpx_torch._function import Function, forward_mode_depth, without_autocast
from bpx_torch._functional_dropout import dropout
from bpx_torch.layers import softmax as _softmax


def with_weights(q, k, v, bias, mask, p):
    """(y, weights) of heads of queries, keys and values (B, H, T, D); the weights (B, H, T, S) of a
    query that sees no key are 0."""
    s = product(q * q.shape[-1] ** -0.5, k)
    s = s if bias is None else s + bias
    if bias is None and mask is None:
        w = _softmax.softmax(s, dim=-1)
    else:
        s = s if mask is None else s.masked_fill(~mask, -torch.inf)
        blind = (s == -torch.inf).all(-1, keepdim=True)
        w = _softmax.softmax(s.masked_fill(blind, 0.0), dim=-1).masked_fill(blind, 0.0)
    w = dropout(w, p) if p else w
    return product(w, v.mT), w


def product(a, b):
    """a b^T for each of the leading dims, which are the same; as a linear layer, in the dtype of
    autocast where it is on."""
    device = a.device.type
    if forward_mode_depth() > 1:
        raise NotImplementedError(
            "multi_head_attention_forward: forward mode inside forward mode would give zeros in "
            "torch; use torch.func.hessian or jacfwd of jacrev"
        )
    if not torch.is_autocast_enabled(device):
        return _Product.apply(a, b)
    dtype = torch.get_autocast_dtype(device)
    a, b = (x if x.dtype == torch.float64 else x.to(dtype) for x in (a, b))
    with torch.autocast(device, enabled=False):
        return _Product.apply(a, b)


class _Product(Function):
    """y = a b^T, with
    da = dy b       through a
    db = dy^T a     through b
    which are such products, as is every derivative of them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a, b):
        return a @ b.mT

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dy):
        if dy is None:
            return None, None
        a, b = ctx.saved_tensors
        with without_autocast(dy):
            da = _Product.apply(dy, b.mT) if ctx.needs_input_grad[0] else None
            return da, _Product.apply(dy.mT, a.mT) if ctx.needs_input_grad[1] else None

    @staticmethod
    def jvp(ctx, da, db):
        a, b = ctx.saved_tensors
        through_a = None if da is None else _Product.apply(da, b)
        if db is None:
            return through_a
        through_b = _Product.apply(a, db)
        return through_b if da is None else through_a + through_b
