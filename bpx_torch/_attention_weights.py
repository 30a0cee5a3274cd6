"""Attention that gives its weights: the scores in one array, between two products for each head."""

import torch
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from bpx import rule
from bpx_torch._function import Function, forward_mode_depth, without_autocast
from bpx_torch._functional_dropout import dropout
from bpx_torch.layers import softmax as _softmax


def with_weights(q, k, v, bias, mask, p):
    """(y, weights) of heads of queries, keys and values (B, H, T, D); the weights (B, H, T, S) of a
    query that sees no key are 0."""
    if not p and not torch.is_autocast_enabled(q.device.type):
        _refuse_deep()
        return _Weighted.apply(q, k, v, bias, mask)
    w = _weights(product(q * q.shape[-1] ** -0.5, k), bias, mask)
    w = dropout(w, p) if p else w
    return product(w, v.mT), w


def _weights(s, bias, mask):
    s = s if bias is None else s + bias
    if bias is None and mask is None:
        return _softmax.softmax(s, dim=-1)
    s = s if mask is None else s.masked_fill(~mask, -torch.inf)
    blind = (s == -torch.inf).all(-1, keepdim=True)
    return _softmax.softmax(s.masked_fill(blind, 0.0), dim=-1).masked_fill(blind, 0.0)


def _refuse_deep():
    if forward_mode_depth() > 1:
        raise NotImplementedError(
            "multi_head_attention_forward: forward mode inside forward mode would give zeros in "
            "torch; use torch.func.hessian or jacfwd of jacrev"
        )


def _numbers(*values):
    """Whether numbers alone are asked for: no derivative of what is computed of these."""
    return not (
        torch.is_grad_enabled()
        or forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
        or any(v is not None and is_legacy_batchedtensor(v) for v in values)
    )


class _Weighted(Function):
    """With s = q k^T / sqrt(D) + bias, w = softmax(s), 0 in s's masked places, and y = w v:
    dv = w^T dy                                   through v
    ds = w (g - sum_S(g w)),  g = dw + dy v^T     through w
    dq = ds k / sqrt(D),  dk = ds^T q / sqrt(D)   through the scores
    dbias = ds summed to its shape."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q, k, v, bias, mask):
        w = _weights((q * q.shape[-1] ** -0.5) @ k.mT, bias, mask)
        return w @ v, w

    @staticmethod
    def setup_context(ctx, inputs, output):
        q, k, v, bias, _ = inputs
        ctx.bias = None if bias is None else bias.shape
        ctx.save_for_backward(q, k, v, output[1])
        ctx.save_for_forward(q, k, v, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dy, dw):
        if dy is None and dw is None:
            return (None,) * 5
        q, k, v, w = ctx.saved_tensors
        needs, scale = ctx.needs_input_grad, q.shape[-1] ** -0.5
        numbers = _numbers(dy, dw)
        times = _times if numbers else _Product.apply
        dq = dk = dv = dbias = None
        with without_autocast(w):
            if dy is not None:
                dv = times(w.mT, dy.mT) if needs[2] else None
                g = times(dy, v)
                g = g if dw is None else g + dw
            else:
                g = dw
            ds = _through_softmax(g, w) if numbers else w * (g - (g * w).sum(-1, keepdim=True))
            if needs[0]:
                dq = times(ds, k.mT) * scale
            if needs[1]:
                dk = times(ds.mT, q.mT) * scale
            if needs[3]:
                dbias = ds.sum_to_size(ctx.bias)
        return dq, dk, dv, dbias, None

    @staticmethod
    def jvp(ctx, dq, dk, dv, dbias, _):
        q, k, v, w = ctx.saved_tensors
        product, scale = _Product.apply, q.shape[-1] ** -0.5
        through_q = None if dq is None else product(dq, k) * scale
        through_k = None if dk is None else product(q, dk) * scale
        some = [d for d in (through_q, through_k, dbias) if d is not None]
        ds = sum(some[1:], some[0]) if some else torch.zeros_like(w)
        dw = w * (ds - (ds * w).sum(-1, keepdim=True))
        dy = product(dw, v.mT)
        return dy if dv is None else dy + product(w, dv.mT), dw


def _times(a, b):
    return a @ b.mT


def _through_softmax(g, w):
    """The rule's own backward by the kernel of the device."""
    options, dims = _softmax.RULE.bind((w.shape,), {"dim": -1})
    kernel = _softmax.RULE.kernels[rule.choose(_softmax.RULE, (w,), dims)].loaded()
    return kernel.backward(g, (w,), (w,), (True,), **options)[0]


def product(a, b):
    """a b^T for each of the leading dims, which are the same; as a linear layer, in the dtype of
    autocast where it is on."""
    device = a.device.type
    _refuse_deep()
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
