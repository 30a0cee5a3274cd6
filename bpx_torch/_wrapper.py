"""An optimizer around an optimizer: what the wrappers share.

A wrapper is a torch.optim.Optimizer whose groups, state and defaults are those of the optimizer it
holds, so schedulers, GradScaler and other wrappers take it. Its state_dict is that of the optimizer
with one key more, the entry's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from bpx.spec import SpecError
from bpx.training import Transform


class Wrapper(torch.optim.Optimizer):
    """Base class of the wrappers.

    `_counts` are numbers, `_arrays` tensors by name and parameter; both are saved. Arrays of 16-bit
    parameters are float32.
    """

    SPEC: ClassVar[Transform]

    def __init__(self, optimizer: torch.optim.Optimizer, **options: Any) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            kind = type(optimizer).__name__
            raise SpecError(
                f"{self.SPEC.name}: optimizer is a {kind}, expected a torch.optim.Optimizer"
            )
        if self.SPEC.check is not None:
            self.SPEC.check({**self.SPEC.options, **options})
        self.optimizer = optimizer
        self.options = options
        self._counts: dict[str, int] = {}
        self._arrays: dict[str, dict[Tensor, Tensor]] = {}
        super().__init__(optimizer.param_groups, optimizer.defaults)

    # torch's constructor sets these three; they are the held optimizer's
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, value: Any) -> None:
        pass

    @property
    def state(self) -> Any:
        return self.optimizer.state

    @state.setter
    def state(self, value: Any) -> None:
        pass

    @property
    def defaults(self) -> dict[str, Any]:
        return self.optimizer.defaults

    @defaults.setter
    def defaults(self, value: Any) -> None:
        pass

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the held optimizer."""
        if not any(param_group is group for group in self.param_groups):
            self.optimizer.add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("optimizer", "options", "_counts", "_arrays")
        return {key: self.__dict__[key] for key in kept}

    def _every(self) -> Iterator[Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    def _with_gradient(self) -> list[Tensor]:
        return [p for p in self._every() if p.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """The held optimizer's, and under the entry's name what the wrapper counts and keeps."""
        places = {p: i for i, p in enumerate(self._every())}
        arrays = {
            name: {places[p]: x for p, x in held.items()} for name, held in self._arrays.items()
        }
        own = {"counts": dict(self._counts), "arrays": arrays}
        return {**self.optimizer.state_dict(), self._key(): own}

    def _key(self) -> str:
        """The entry's name, numbered where a wrapper of the same kind is within."""
        inside, held = 0, self.optimizer
        while isinstance(held, Wrapper):
            inside += held.SPEC is self.SPEC
            held = held.optimizer
        return self.SPEC.name if inside == 0 else f"{self.SPEC.name} {inside + 1}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            SpecError: it is not of this wrapper, or of another number of parameters. Then nothing
                has changed.
        """
        name, key, params = self.SPEC.name, self._key(), list(self._every())
        own = state_dict.get(key)
        if own is None:
            raise SpecError(f"{name}: state_dict has no {key!r}, expected what this wrapper saved")
        arrays: dict[str, dict[Tensor, Tensor]] = {}
        for kind, held in own["arrays"].items():
            arrays[kind] = {}
            for i, x in held.items():
                if i >= len(params) or x.shape != params[i].shape:
                    raise SpecError(
                        f"{name}: state_dict has {kind} {i} of shape {tuple(x.shape)}, expected "
                        f"the shapes of {len(params)} parameters"
                    )
                arrays[kind][params[i]] = x.detach().clone().to(params[i].device)
        self.optimizer.load_state_dict({k: v for k, v in state_dict.items() if k != key})
        self._counts, self._arrays = dict(own["counts"]), arrays

    def step(self, closure: Any = None) -> Any:
        raise NotImplementedError


def wide(x: Tensor) -> Tensor:
    """A copy without a graph, in float32 at least."""
    dtype = torch.float32 if x.dtype.itemsize < 4 else x.dtype
    return x.detach().to(dtype, copy=True)


def loss_of(closure: Any) -> Any:
    """What a closure returns, with gradients recorded; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
