"""What the solvers share: parameters as one vector, the closure, the result.

Arithmetic and state are in the widest dtype of the parameters, float32 at least. Within a call of
`step` the vector is kept in it too: what the parameters are rounded to is not fed back.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from torch import Tensor

from bpx.solvers import Result
from bpx.solvers._result import check
from bpx.spec import require


class FlatSolver(torch.optim.Optimizer):
    """Base class of the solvers. `result` says how the last `step` ended.

    One parameter group; parameters on several devices are gathered on the first one's. Raises
    SpecError for options outside their limits, a second group, complex parameters.
    """

    NAME: ClassVar[str]
    result: Result | None = None

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._check(defaults)
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        plain = {k: v.item() if _single(v) else v for k, v in group.items() if k != "params"}
        check(self.NAME, plain)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self._check({**self.defaults, **param_group})
        require(not self.param_groups, f"{self.NAME}: 2 parameter groups, expected one")
        super().add_param_group(param_group)
        for i, p in enumerate(self._params):
            if not p.is_floating_point():
                del self.param_groups[-1]
                require(
                    False,
                    f"{self.NAME}: parameter {i} has dtype {p.dtype}, expected a real floating one "
                    "(torch.view_as_real gives the two parts of a complex one)",
                )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("result", None)

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    @property
    def _dtype(self) -> torch.dtype:
        return functools.reduce(torch.promote_types, (p.dtype for p in self._params), torch.float32)

    @property
    def _memory(self) -> dict[str, Any]:
        """State of the whole vector, kept with the first parameter as torch.optim.LBFGS does."""
        return self.state[self._params[0]]

    def _flat(self, tensors: list[Tensor | None]) -> Tensor:
        """One vector of tensors shaped as the parameters; None is zeros."""
        device, dtype, parts = self._params[0].device, self._dtype, []
        for i, (p, a) in enumerate(zip(self._params, tensors, strict=True)):
            if a is None:
                a = torch.zeros_like(p)
            require(
                a.layout == torch.strided,
                f"{self.NAME}: the gradient of parameter {i} has layout {a.layout}, "
                "expected a dense one",
            )
            parts.append(a.reshape(-1).to(device, dtype))
        return torch.cat(parts)

    def _vector(self) -> Tensor:
        return self._flat([p.detach() for p in self._params])

    @torch.no_grad()
    def _put(self, x: Tensor) -> None:
        sizes = [p.numel() for p in self._params]
        for p, part in zip(self._params, x.split(sizes), strict=True):
            p.copy_(part.view_as(p))

    def _rows_of(self, y: Tensor) -> Tensor:
        """dy/dparameters (m n) of a vector y (m): chunk_size products of its graph at a time."""
        x, n = self._params, sum(p.numel() for p in self._params)
        empty = torch.zeros(0, n, dtype=self._dtype, device=x[0].device)
        if not y.requires_grad or not len(y):
            return empty.new_zeros(len(y), n)
        size, rows = self.param_groups[0]["chunk_size"], [empty]
        asked = {"retain_graph": True, "materialize_grads": True, "allow_unused": True}
        for picks in torch.eye(len(y), dtype=y.dtype, device=y.device).split(size):
            if size == 1:
                rows.append(self._flat(list(torch.autograd.grad(y, x, picks[0], **asked)))[None])
                continue
            found = torch.autograd.grad(y, x, picks, is_grads_batched=True, **asked)
            rows.append(torch.cat([a.reshape(len(picks), -1).to(empty) for a in found], 1))
        return torch.cat(rows)

    def _end(
        self, loss: float, grad: Tensor, iterations: int, evaluations: int, formed: int, why: str
    ) -> None:
        self.result = Result(
            tuple(self._params), loss, largest(grad), iterations, evaluations, formed, why
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but the state of 16-bit parameters stays in float32."""
        super().load_state_dict(state_dict)
        first = state_dict["param_groups"][0]["params"][0]
        device, dtype = self._params[0].device, self._dtype

        def own(value: Any) -> Any:
            if isinstance(value, list):
                return [own(v) for v in value]
            if isinstance(value, Tensor):
                return value.to(device, dtype, copy=True)
            return value

        if first in state_dict["state"]:
            saved = state_dict["state"][first]
            self.state[self._params[0]] = {k: own(v) for k, v in saved.items()}


def largest(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, torch.inf)) if x.numel() else 0.0


def finite(loss: float, grad: Tensor) -> bool:
    return bool(torch.isfinite(grad).all()) and loss - loss == 0


def _single(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1
