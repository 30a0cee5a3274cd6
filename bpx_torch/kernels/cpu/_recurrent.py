"""What the recurrent layers' cpu kernels share. The products that need no walk through the steps
stay with torch; the walk is one call."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable

FEW = 16  # rows of all steps for which packing a large w_hh costs more than its products
LARGE = 1 << 16


def refuses(arrays, dims):
    if dims["T"] * dims["B"] < FEW and arrays[-4].numel() > LARGE:
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
