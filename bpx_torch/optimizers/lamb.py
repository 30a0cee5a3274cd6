"""LAMB for PyTorch. Maths, options and source: bpx/optimizers/lamb.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.lamb import SPEC
from bpx.profiles import profiled
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, add_scaled, mix_, mix_square_, nonzero, number, unbiased
from bpx_torch.optimizers._trust import norm, norms, total_norm, trust

NORM = "norm of all gradients"


class LAMB(SpecOptimizer):
    """Adam with steps scaled to the norm of each tensor; torch.optim has none.

    `LAMB(params, max_grad_norm=1.0, use_nvlamb=False)` is apex's FusedLAMB.

    Args:
        params: tensors, named tensors, or groups of them.
        lr: the step, times the ratio of the norms.
        betas: decays of the two moments.
        eps: added after the root.
        weight_decay: decoupled; part of the step that is scaled.
        max_grad_norm: the norm of all gradients of all groups together is brought down to it first;
            `p.grad` is not changed. None leaves them alone.
        adam_w_mode: False adds the decay to the gradient instead.
        grad_averaging: False leaves the factor 1 - b1 out of the first moment.
        bias_correction: divide the moments by 1 - b1^t and 1 - b2^t.
        use_nvlamb: False leaves the ratio out where weight_decay is 0.
        eps_root: added inside the root.
        phi: two bounds between which the tensor's norm is clamped, or None.
        foreach, maximize, capturable, differentiable: as in torch.optim.Adam.

    The moments of a 16-bit parameter are float32.

    Raises:
        SpecError: an option outside its limits.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> LAMB([w], lr=0.1, eps=0, weight_decay=0).step()
    >>> w.detach()
    tensor([2.6464, 4.3536])
    """

    SPEC = SPEC
    STATE = {"m": "exp_avg", "v": "exp_avg_sq"}  # noqa: RUF012

    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "capturable": False,
        "differentiable": False,
    }

    @profiled("lamb")
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        max_grad_norm: float | None = None,
        adam_w_mode: bool = True,
        grad_averaging: bool = True,
        bias_correction: bool = True,
        use_nvlamb: bool = True,
        eps_root: float = 0.0,
        phi: tuple[float, float] | None = None,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
            "adam_w_mode": adam_w_mode,
            "grad_averaging": grad_averaging,
            "bias_correction": bias_correction,
            "use_nvlamb": use_nvlamb,
            "eps_root": eps_root,
            "phi": phi,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ("exp_avg", "exp_avg_sq")
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _look(self) -> None:
        # not an attribute: Dynamo of torch 2.11 does not follow one of an optimizer that is set
        self._held[NORM] = None
        if any(group["max_grad_norm"] is not None for group in self.param_groups):
            found = (p.grad for group in self.param_groups for p in group["params"])
            gs = [g for g in found if g is not None and g.layout == torch.strided]
            self._held[NORM] = total_norm(gs) if gs else None

    def _clip(self, group: Group, device: torch.device) -> Tensor | None:
        """What the gradients of this group are multiplied by."""
        limit, norm = group["max_grad_norm"], self._held[NORM]
        if limit is None or norm is None:
            return None
        return (limit / norm.clamp(min=limit)).to(device)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        b1, b2 = (number(b) for b in group["betas"])
        w = p.clone() if group["differentiable"] else p  # its norm's graph must keep the old p
        clip = self._clip(group, p.device)
        g = g if clip is None else g * clip
        if nonzero(decay) and not group["adam_w_mode"]:
            g = add_scaled(g, w, decay)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        if group["grad_averaging"]:
            mix_(m, g, b1)
        else:
            m.mul_(b1).add_(g)
        mix_square_(v, g, b2)
        c1, c2 = (unbiased(b1, t), unbiased(b2, t)) if group["bias_correction"] else (1.0, 1.0)
        d = (m / c1) / ((v / c2 + group["eps_root"]).sqrt() + group["eps"])
        if nonzero(decay) and group["adam_w_mode"]:
            d = add_scaled(d, w, decay)
        if nonzero(decay) or group["use_nvlamb"]:
            size = norm(w)
            size = size if group["phi"] is None else size.clamp(*group["phi"])
            d = d * trust(size, norm(d))
        p.sub_(d * lr)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        (b1, b2), decay = group["betas"], group["weight_decay"]
        clip = self._clip(group, ps[0].device)
        if clip is not None:
            gs = list(torch._foreach_mul(gs, clip))
        if decay != 0 and not group["adam_w_mode"]:
            gs = list(torch._foreach_add(gs, ps, alpha=decay))
        ms, vs = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        torch._foreach_mul_(ms, b1)
        torch._foreach_add_(ms, gs, alpha=1 - b1 if group["grad_averaging"] else 1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        corrects = group["bias_correction"]
        roots = torch._foreach_div(vs, [unbiased(b2, t) if corrects else 1.0 for t in ts])
        torch._foreach_add_(roots, group["eps_root"])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        ds = torch._foreach_div(ms, [unbiased(b1, t) if corrects else 1.0 for t in ts])
        torch._foreach_div_(ds, roots)
        if decay != 0 and group["adam_w_mode"]:
            torch._foreach_add_(ds, ps, alpha=decay)
        if decay != 0 or group["use_nvlamb"]:
            sizes = torch.stack(norms(ps))
            sizes = sizes if group["phi"] is None else sizes.clamp(*group["phi"])
            torch._foreach_mul_(ds, list(trust(sizes, torch.stack(norms(ds))).unbind()))
        torch._foreach_add_(ps, ds, alpha=-group["lr"])
