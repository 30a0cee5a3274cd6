"""What the optimizers share: groups, state, closures, the loops over tensors and over lists.

An optimizer says which state a parameter starts with (`_start`) and moves one parameter
(`_step_one`) or a list of them (`_step_many`). A 16-bit parameter is handed to them in float32 and
rounded once when it is written; its state is float32. State keys and shapes, and dtypes elsewhere,
are those of torch.optim, so a state_dict goes both ways.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from bpx.spec import Optimizer, SpecError
from bpx_torch._scalars import Number
from bpx_torch._wide import HALVES, wide, widen_state

Group = dict[str, Any]
State = dict[str, Tensor]

ONE = torch.ones(())  # a number would be made a tensor again for each of the counts


class Rows(NamedTuple):
    """What a step works on, a list entry for each parameter; `ts` counts its steps from 1."""

    ps: list[Tensor]
    gs: list[Tensor]
    states: list[State]
    ts: list[Any]


class SpecOptimizer(torch.optim.Optimizer):
    """Base class of the optimizers. Raises SpecError for options outside the entry's limits."""

    SPEC: ClassVar[Optimizer]
    STATE: ClassVar[dict[str, str]]  # the entry's name of a state array -> torch's
    COUNTS: ClassVar[bool] = True  # whether the state has a "step"
    LATER: ClassVar[Group] = {}  # group keys that old checkpoints lack

    def __init__(self, params: Any, defaults: Group, **beyond: Any) -> None:
        # a group has an option that torch's has not only where it is not the entry's default
        defaults |= {k: v for k, v in beyond.items() if v != self.SPEC.options.get(k, v)}
        self._check(defaults)
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        raise NotImplementedError

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        raise NotImplementedError

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        raise NotImplementedError

    def _options(self, p: Tensor, group: Group) -> Group:
        """The group, where an option depends on the parameter's own dtype with its value there."""
        return group

    def _look(self) -> None:
        """What an optimizer reads from all gradients together, before the first is used."""

    def _check(self, group: Group) -> None:
        name = self.SPEC.name
        for key, value in group.items():
            for x in value if isinstance(value, (tuple, list)) else (value,):
                if key != "params" and isinstance(x, Tensor) and x.numel() != 1:
                    raise SpecError(
                        f"{name}: {key} is a tensor of shape {tuple(x.shape)}, expected one element"
                    )
        if self.SPEC.check is not None:
            given = {k: v for k, v in group.items() if k in self.SPEC.options}
            self.SPEC.check({**self.SPEC.options, **given})
        if group.get("fused"):
            raise SpecError(
                f"{name}: fused is True, expected None or False (use foreach, or torch.compile)"
            )
        if group.get("foreach") and group.get("differentiable"):
            raise SpecError(
                f"{name}: foreach is True with differentiable True, expected at most one of them"
            )

    def add_param_group(self, param_group: Group) -> None:
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        for i, p in enumerate(self.param_groups[-1]["params"]):
            if p.is_complex():
                del self.param_groups[-1]
                raise SpecError(
                    f"{self.SPEC.name}: parameter {i} of the group has dtype {p.dtype}, "
                    "expected a real one (torch.view_as_real gives its two parts)"
                )

    def _counter(self, p: Tensor, group: Group, value: float = 0.0) -> Tensor:
        device = p.device if group.get("capturable") else "cpu"  # reading it there never waits
        exact = torch.get_default_dtype() == torch.float64  # as torch does
        dtype = torch.float64 if exact else torch.float32
        return torch.tensor(value, dtype=dtype, device=device)

    def _keeps(self, group: Group) -> bool:
        """Whether parameters of the group have a state."""
        return True

    def _states_of(self, params: list[Tensor], group: Group) -> list[State]:
        if not self._keeps(group):
            return [{} for _ in params]
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                if self.COUNTS:
                    state["step"] = self._counter(p, group)
                state.update(self._start(wide(p), group))
            elif group.get("differentiable"):  # the last step's graph holds what is there
                new = {k: v.clone() for k, v in state.items() if k != "step" and v is not None}
                state.update(new)
        return states

    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient.

        Args:
            closure: reevaluates the model and returns the loss, which is then returned.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            self._look()
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _step_group(self, group: Group) -> None:
        params, grads = self._moving(group)
        if not params:
            return
        on_device = group.get("capturable") or torch.compiler.is_compiling()
        states = self._states_of(params, group)
        ts: list[Number] = [0.0] * len(params)
        if self.COUNTS:
            counts = [state["step"] for state in states]
            torch._foreach_add_(counts, 1 if on_device else ONE)
            ts = [_exact(c) for c in counts] if on_device else [c.item() for c in counts]
        rows = Rows(params, grads, states, ts)
        if "foreach" in self.defaults and not on_device and _by_list(group, params):
            for part in _alike(rows):
                self._step_rows(part, group)
        else:
            self._step_each(rows, group)

    def _moving(self, group: Group) -> tuple[list[Tensor], list[Tensor]]:
        """The parameters that have a gradient, and what they are to descend along."""
        params = [p for p in group["params"] if p.grad is not None]
        grads: list[Tensor] = [p.grad for p in params]
        strided = torch.strided
        for g in grads:
            if g.layout is not strided:
                raise RuntimeError(
                    f"{self.SPEC.name}: the gradient of a parameter of shape {tuple(g.shape)} has "
                    f"layout {g.layout}, expected a dense one"
                )
        return params, [-g for g in grads] if group.get("maximize") else grads

    def _step_each(self, rows: Rows, group: Group) -> None:
        for p, g, state, t in zip(*rows, strict=True):
            if p.dtype in HALVES:
                w = p.float()
                self._step_one(w, g.float(), state, self._options(p, group), t)
                p.copy_(w)
            else:
                self._step_one(p, g, state, self._options(p, group), t)

    def _step_rows(self, rows: Rows, group: Group) -> None:
        ps, gs, states, ts = rows
        options = self._options(ps[0], group)
        if ps[0].dtype not in HALVES:
            return self._step_many(ps, gs, states, options, ts)
        ws = [p.float() for p in ps]
        self._step_many(ws, [g.float() for g in gs], states, options, ts)
        torch._foreach_copy_(ps, ws)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.LATER.items():
                group.setdefault(key, value)
            fused = bool(group.get("fused"))
            if fused:  # torch's choice of a kernel, not of a method: step as if it were not set
                group["fused"] = None
            for p in group["params"]:
                count = self.state[p].get("step") if p in self.state else None
                if count is not None and (fused or not isinstance(count, Tensor)):
                    self.state[p]["step"] = self._counter(p, group, float(count))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but the state of a 16-bit parameter is float32, as exact as it was saved."""
        seen: dict[str, Any] = {}
        before = self.register_load_state_dict_pre_hook(lambda _, given: seen.update(given))
        after = self.register_load_state_dict_post_hook(
            lambda o: widen_state(o, seen), prepend=True
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()


def _alike(rows: Rows) -> list[Rows]:
    """The rows by device and dtypes, as the functions on lists want them."""
    ps, gs, _, _ = rows
    kinds = [(p.device, p.dtype, g.dtype) for p, g in zip(ps, gs, strict=True)]
    if len(set(kinds)) == 1:
        return [rows]
    parts: dict[Any, Rows] = defaultdict(lambda: Rows([], [], [], []))
    for kind, *row in zip(kinds, *rows, strict=True):
        for column, value in zip(parts[kind], row, strict=True):
            column.append(value)
    return list(parts.values())


def _by_list(group: Group, params: list[Tensor]) -> bool:
    numbers = (group["lr"], group.get("weight_decay"), *group.get("betas", ()))
    if group.get("differentiable") or any(isinstance(x, Tensor) for x in numbers):
        return False
    if group["foreach"] is not None:
        return bool(group["foreach"])
    plain = (Tensor, torch.nn.Parameter)  # one launch for many tensors pays on a GPU only
    return all(p.device.type == "cuda" and type(p) in plain for p in params)


def _exact(count: Tensor) -> Tensor:
    """A step count for arithmetic as exact as a Python number's, where the device has float64."""
    return count if count.device.type == "mps" else count.double()
