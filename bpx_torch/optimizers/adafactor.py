"""Adafactor for PyTorch. Maths, options and source: bpx/optimizers/adafactor.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adafactor import SPEC, axes
from bpx.profiles import profiled
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_, nonzero, number
from bpx_torch.optimizers import _adafactor_options as options
from bpx_torch.optimizers._trust import norm, norms


class Adafactor(SpecOptimizer):
    """Replaces torch.optim.Adafactor: the same arguments, steps and state.

    Differs: parameters without elements are taken; `eps=(None, ...)` is the spacing of each
    parameter's own dtype (torch: of the group's first); with eps1 = 0 a zero gradient is a zero
    step, not NaN. profile="optax" is optax.adafactor, whose options its groups then hold.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adafactor([w], lr=0.1).step()
    >>> w.detach()
    tensor([2.6464, 4.3536])
    """

    SPEC = SPEC
    STATE = {  # noqa: RUF012
        "row": "row_var",
        "col": "col_var",
        "v": "variance",
        "m": "exp_avg",
    }
    LATER = {"foreach": None}  # noqa: RUF012

    @profiled("adafactor", beyond=options.BEYOND)
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        eps_in_square: bool = False,
        relative_step: bool = True,
        parameter_scale: bool = True,
        decay_by_lr: bool = True,
        momentum: float = 0.0,
        decay_offset: int = 0,
        factored: bool = True,
        largest_axes: bool = False,
        min_dim_size_to_factor: int = 0,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(
            params,
            defaults,
            eps_in_square=eps_in_square,
            relative_step=relative_step,
            parameter_scale=parameter_scale,
            decay_by_lr=decay_by_lr,
            momentum=momentum,
            decay_offset=decay_offset,
            factored=factored,
            largest_axes=largest_axes,
            min_dim_size_to_factor=min_dim_size_to_factor,
        )

    def _start(self, p: Tensor, group: Group) -> State:
        pair = axes(tuple(p.shape), {**SPEC.options, **group})
        zeros = torch.zeros_like(p, memory_format=torch.preserve_format)
        state = {"exp_avg": zeros.clone()} if group.get("momentum") else {}
        if pair is None:
            return {**state, "variance": zeros}
        down, along = pair
        return {
            **state,
            "row_var": p.new_zeros([1 if i == along else n for i, n in enumerate(p.shape)]),
            "col_var": p.new_zeros([1 if i == down else n for i, n in enumerate(p.shape)]),
        }

    def _options(self, p: Tensor, group: Group) -> Group:
        eps1, eps2 = group["eps"]
        return group if eps1 is not None else {**group, "eps": (torch.finfo(p.dtype).eps, eps2)}

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        if options.beyond(group):
            return options.step_(p, g, state, group, t)
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        small = float(group["eps"][0])
        scale = _scale(_size(p, t), p, group, t)
        if nonzero(decay):
            p.mul_(1 - lr * decay)
        root = _second_moment(g, state, group, t, small).sqrt().clamp(min=small)
        u = g / (root if small > 0 else torch.where(root > 0, root, 1.0))
        descend_(p, u, scale / _excess(_size(u, t), u, group))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        if options.beyond(group):
            for p, g, state, t in zip(ps, gs, states, ts, strict=True):
                options.step_(p, g, state, self._options(p, group), t)
            return
        lr, decay, small = group["lr"], group["weight_decay"], float(group["eps"][0])
        roots = [max(p.numel(), 1) ** 0.5 for p in ps]
        sizes = torch.stack(norms(ps))
        rates = sizes.new_tensor([min(lr, t**-0.5) for t in ts])
        scales = (sizes / sizes.new_tensor(roots)).clamp(min=group["eps"][1]) * rates
        if decay != 0:
            torch._foreach_mul_(ps, 1 - lr * decay)
        us = _second_moments(gs, states, group, ts, small)
        torch._foreach_sqrt_(us)
        if small > 0:
            torch._foreach_clamp_min_(us, small)
        else:
            us = [torch.where(u > 0, u, 1.0) for u in us]
        us = list(torch._foreach_div(gs, us))
        over = (torch.stack(norms(us)) / sizes.new_tensor([n * group["d"] for n in roots])).clamp(
            min=1
        )
        torch._foreach_mul_(us, list((-scales / over).to(us[0].dtype).unbind()))
        torch._foreach_add_(ps, us)


def _size(x: Tensor, t: Number) -> Number:
    """The norm of x; a Python number where reading it waits for nothing."""
    size = norm(x)
    return size if isinstance(t, Tensor) or x.device.type != "cpu" else size.item()


def _scale(size: Number, p: Tensor, group: Group, t: Number) -> Number:
    """min(lr, 1 / sqrt(t)) * max(eps2, rms(p)) from the norm of p, on p's device."""
    lr, slow, least = number(group["lr"]), t**-0.5, group["eps"][1]
    mean = size / max(p.numel(), 1) ** 0.5
    if not isinstance(mean, Tensor):
        mean = max(mean, least)
    else:
        mean = mean.clamp(min=least)
    if isinstance(lr, Tensor) or isinstance(slow, Tensor):
        both = (torch.as_tensor(x, dtype=torch.float64, device="cpu") for x in (lr, slow))
        return mean * torch.minimum(*both).to(p)
    return mean * min(lr, slow)


def _excess(size: Number, u: Tensor, group: Group) -> Number:
    """max(1, rms(u) / d) from the norm of u."""
    over = size / (max(u.numel(), 1) ** 0.5 * group["d"])
    return over.clamp(min=1.0) if isinstance(over, Tensor) else max(over, 1.0)


def _second_moment(g: Tensor, state: State, group: Group, t: Number, small: float) -> Tensor:
    """The running mean of g^2 after this step, a new tensor; the state is moved on."""
    share = t ** group["beta2_decay"]
    keep = 1 - share
    if "variance" in state:
        v = state["variance"].mul_(keep).add_(g * g * share)
        return v.clone()
    row, col = state["row_var"], state["col_var"]
    squares = g * g
    row.mul_(keep).add_(squares.sum(-1, keepdim=True) * (share / max(g.shape[-1], 1)))
    col.mul_(keep).add_(squares.sum(-2, keepdim=True) * (share / max(g.shape[-2], 1)))
    middle = row.sum(-2, keepdim=True).div(max(g.shape[-2], 1)).clamp(min=small)
    middle = middle if small > 0 else torch.where(middle > 0, middle, 1.0)
    return row * col / middle


def _second_moments(
    gs: list[Tensor], states: list[State], group: Group, ts: list[float], small: float
) -> list[Tensor]:
    """`_second_moment` of each, by lists: first those with a mean per element, then the others."""
    out: list[Any] = [None] * len(gs)
    shares = [t ** group["beta2_decay"] for t in ts]
    whole = [i for i, s in enumerate(states) if "variance" in s]
    if whole:
        vs, some = [states[i]["variance"] for i in whole], [gs[i] for i in whole]
        torch._foreach_mul_(vs, [1 - shares[i] for i in whole])
        torch._foreach_addcmul_(vs, some, some, [shares[i] for i in whole])
        for i, v in zip(whole, vs, strict=True):
            out[i] = v.clone()
    cut = [i for i, s in enumerate(states) if "variance" not in s]
    if cut:
        squares = torch._foreach_mul([gs[i] for i in cut], [gs[i] for i in cut])
        means = {}
        for key, dim in (("row_var", -1), ("col_var", -2)):
            held = means[key] = [states[i][key] for i in cut]
            sums = [s.sum(dim, keepdim=True) for s in squares]
            weights = [shares[i] / max(gs[i].shape[dim], 1) for i in cut]
            torch._foreach_mul_(sums, weights)
            torch._foreach_mul_(held, [1 - shares[i] for i in cut])
            torch._foreach_add_(held, sums)
        middles = [r.sum(-2, keepdim=True) for r in means["row_var"]]
        torch._foreach_div_(middles, [float(max(gs[i].shape[-2], 1)) for i in cut])
        if small > 0:
            torch._foreach_clamp_min_(middles, small)
        else:
            middles = [torch.where(m > 0, m, 1.0) for m in middles]
        scaled = torch._foreach_div(means["row_var"], middles)
        for i, row, col in zip(cut, scaled, means["col_var"], strict=True):
            out[i] = row * col
    return out
