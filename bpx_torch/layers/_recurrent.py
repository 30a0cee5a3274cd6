"""What the recurrent rules share: everything that is one product over all steps at once."""

import torch


def projected(x, w_ih, *biases):
    """x_t w_ih^T + biases of every step (T B G), in the dtype of x."""
    a = x @ w_ih.to(x.dtype).T
    for b in biases:
        a = a if b is None else a + b.to(x.dtype)
    return a


def states_dtype(x, start):
    """The dtype of the states: that of x, wider where the state they start from is wider than a
    half-precision x, as under torch.autocast."""
    return torch.promote_types(x.dtype, start.dtype) if x.dtype.itemsize < 4 else x.dtype


def before(h0, states):
    """The state each step starts from: h0, then all states but the last."""
    return torch.cat([h0.to(states.dtype).unsqueeze(0), states[:-1]])


def running(lengths, steps):
    """Which steps lie before the ends of their sequences (T B 1), None without lengths. No step of
    a length that is none of 0 .. T does."""
    if lengths is None:
        return None
    length = torch.where(_known(lengths, steps), lengths.long(), 0)
    return (torch.arange(steps, device=length.device).unsqueeze(1) < length).unsqueeze(2)


def cut(v, runs):
    """v (T B D), 0 past the ends: what stands there, NaN too, has no part in a product."""
    return v if runs is None else torch.where(runs, v, 0.0)


def ended(y, lengths, runs):
    """y (T B H), 0 past the ends, NaN for a length that is none."""
    if runs is None:
        return y
    past = torch.where(_known(lengths, len(y)), 0.0, torch.nan).to(y.dtype)
    return torch.where(runs, y, past.unsqueeze(1))


def few_steps(lengths, x, *arrays, **options):
    """The lengths in a byte each where autodiff's mask, of a byte a step, is smaller than they are.
    What is none of 0 .. T stays none."""
    steps = len(x)
    if lengths.element_size() <= steps:
        return lengths
    return lengths.clamp(-1, steps + 1).to(torch.int8)


def _known(lengths, steps):
    return (lengths.long() >= 0) & (lengths.long() <= steps)


def backwards(*sequences):
    """The steps of all sequences, the last step first."""
    return reversed(list(zip(*(s.unbind(0) for s in sequences), strict=True)))


def stacked(steps):
    """What was gathered from the last step on, in the order of time."""
    return torch.stack(steps[::-1])


def products(da_ih, da_hh, x, h_before, w_ih, needs):
    """(dx, dw_ih, dw_hh, db_ih, db_hh) from the gradients of a_t = x_t w_ih^T + b_ih and of
    h_{t-1} w_hh^T + b_hh at all steps; `needs` in the same order."""
    # dx_t = da_t w_ih,  dw_ih = sum(da_t^T x_t),  db_ih = sum(da_t),  dw_hh = sum(da_t^T h_{t-1}),
    # db_hh = sum(da_t),   the sums over steps and batch
    dx = da_ih @ w_ih.to(da_ih.dtype) if needs[0] else None
    dw_ih = _over_steps(da_ih, x) if needs[1] else None
    dw_hh = _over_steps(da_hh, h_before) if needs[2] else None
    db_ih = da_ih.sum((0, 1)) if needs[3] else None
    db_hh = da_hh.sum((0, 1)) if needs[4] else None
    return dx, dw_ih, dw_hh, db_ih, db_hh


def _over_steps(da, v):
    return da.flatten(0, 1).T @ v.to(da.dtype).flatten(0, 1)
