"""What the recurrent layers' cpu kernels share. The products that need no walk through the steps
stay with torch; the walk is one call."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable

FEW = 16  # rows of all steps for which packing a large w_hh costs more than its products
LARGE = 1 << 16


def refuses(arrays, dims):
    few = dims["T"] * dims["B"] < FEW and arrays[-4].numel() > LARGE
    if few and not alone(arrays[0], arrays[-1]):
        return f"it packs w_hh, which does not pay for {dims['T'] * dims['B']} rows"
    x = arrays[0]
    for a in arrays:
        if a is not None and a.is_floating_point() and a.dtype != x.dtype:
            return f"an argument is {a.dtype} beside {x.dtype}"
    return _call.refuses(arrays)


def projected(x, w_ih, *biases):
    """x_t w_ih^T + biases of every step (T B G), in the arithmetic type of x."""
    wide = arithmetic(x.dtype)
    rows, w = x.to(wide).flatten(0, 1), w_ih.to(wide).T
    biases = [b.to(wide) for b in biases if b is not None]
    if biases:
        a = torch.addmm(biases[0] if len(biases) == 1 else biases[0] + biases[1], rows, w)
    else:
        a = rows @ w
    return readable(a, wide).view(*x.shape[:2], -1)


def alone(x, lengths):
    """Whether there is one step, as a cell has: its products are torch's, and the core is called
    without w_hh."""
    return len(x) == 1 and lengths is None


def added(rows, w, bias):
    """rows w^T + bias of rows (B I), in the arithmetic type."""
    wide = arithmetic(rows.dtype)
    rows, w = rows.to(wide), w.to(wide).T
    return rows @ w if bias is None else torch.addmm(bias.to(wide), rows, w)


def of_step(da, du, x, h0, w_ih, w_hh, needs, dh0=None):
    """(dx, dh0, dw_ih, dw_hh, db_ih, db_hh) of one step, of the gradients (B G) of
    a = x w_ih^T + b_ih and of u = h0 w_hh^T + b_hh; dh0: what flows to h0 beside u."""
    # dx = da w_ih,  dh0 = du w_hh;  dw_ih = da^T x,  dw_hh = du^T h0,  db_ih, db_hh = da, du summed
    wide, w = da.dtype, w_hh.to(da.dtype)
    dx = (da @ w_ih.to(wide)).view(x.shape) if needs[0] else None
    dh0 = (du @ w if dh0 is None else torch.addmm(dh0, du, w)) if needs[1] else None
    dw_ih = da.T @ x[0].to(wide) if needs[2] else None
    dw_hh = du.T @ h0.to(wide) if needs[3] else None
    return dx, dh0, dw_ih, dw_hh, da.sum(0) if needs[4] else None, du.sum(0) if needs[5] else None


def counts(lengths):
    return readable(lengths, torch.int64)


def gradients(da, du, x, h0, h, w_ih, lengths, needs):
    """(dx, dw_ih, dw_hh, db_ih, db_hh), where `needs` them, of the gradients of a = x w_ih^T + b_ih
    and of u = h w_hh^T + b_hh at all steps."""
    # dx = da w_ih;  dw_ih = da^T x,  dw_hh = du^T (h0, h_1, ..),  db_ih, db_hh = da, du summed
    if lengths is not None:  # what stands past an end, NaN too, has no part in a product
        ends = lengths.long().where((lengths >= 0) & (lengths <= len(x)), 0)
        past = torch.arange(len(x)).unsqueeze(1) >= ends
        x = x.masked_fill(past.unsqueeze(2), 0.0)
    dx = dw_ih = dw_hh = db_ih = db_hh = None
    rows = da.flatten(0, 1)
    if needs[0]:
        dx = (rows @ w_ih.to(da.dtype)).view(x.shape)
    if needs[1]:
        dw_ih = rows.T @ x.to(da.dtype).flatten(0, 1)
    if needs[2]:
        before = torch.cat([h0.to(da.dtype).unsqueeze(0), h[:-1].to(da.dtype)])
        dw_hh = du.flatten(0, 1).T @ before.flatten(0, 1)
    if needs[3]:
        db_ih = rows.sum(0)
    if needs[4]:
        db_hh = db_ih.clone() if needs[3] and du is da else du.flatten(0, 1).sum(0)
    return dx, dw_ih, dw_hh, db_ih, db_hh
