"""AdamW for PyTorch. Maths, options and source: bpx/optimizers/adamw.py."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bpx.optimizers.adamw import SPEC
from bpx.profiles import profiled
from bpx_torch.optimizers.adam import Adam


class AdamW(Adam):
    """Replaces torch.optim.AdamW: the same arguments, steps and state; an Adam.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU,
    tensor by tensor.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> AdamW([w], lr=0.5, weight_decay=0.2).step()
    >>> w.detach()
    tensor([0.4000, 2.3000])
    """

    SPEC = SPEC

    @profiled("adamw", beyond=("eps_hat",))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_hat: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
            eps_hat=eps_hat,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True  # checkpoints of 2.6 and before lack it
