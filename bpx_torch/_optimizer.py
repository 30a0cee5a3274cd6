"""What the optimizers share: groups, state, closures, the loops over tensors and over lists.

An optimizer says which state a parameter starts with (`_start`) and moves one parameter
(`_step_one`) or a list of them (`_step_many`). A 16-bit parameter is handed to them in float32 and
rounded once when it is written; its state is float32. On a CPU a step that names neither `foreach`
nor `fused` is one call of the native core where that takes it (`_native`, docs/native.md);
`fused=True` raises where it does not, `foreach=False` and `fused=False` ask for the loop. State
keys and shapes, and dtypes elsewhere, are those of torch.optim, so a state_dict goes both ways.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from bpx.spec import Optimizer, SpecError
from bpx_torch import _native_step
from bpx_torch._rows import Group, Rows, State, alike, by_list, on_tensors
from bpx_torch._scalars import Number
from bpx_torch._wide import HALVES, wide, widen_state

ONE = torch.ones(())  # a number would be made a tensor again for each of the counts


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
        self._held: dict[Any, _native_step.Held] = {}
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
        ways = [k for k in ("fused", "foreach", "differentiable") if group.get(k)]
        if len(ways) > 1:
            raise SpecError(
                f"{name}: {ways[0]} is True with {ways[1]} True, expected at most one of them"
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
        if all(states) and not group.get("differentiable"):
            return states
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
        states = self._states_of(params, group)
        if group.get("capturable") or torch.compiler.is_compiling():
            return self._step_each(Rows(params, grads, states), group, on_device=True)
        lists = "foreach" in self.defaults and by_list(group, params)
        call = None if lists else self._fusing(group)
        if not lists and call is None:
            return self._step_each(Rows(params, grads, states), group)
        whole = Rows(params, grads, states)
        if call is not None and self._run(call, whole, group) is None:
            return
        for rows in alike(whole):
            if lists:
                self._step_rows(rows, group)
            elif (reason := self._run(call, rows, group)) is not None:
                if group.get("fused"):
                    raise SpecError(f"{self.SPEC.name}: fused is True, expected None ({reason})")
                self._step_each(rows, group)

    def _run(self, call: Any, rows: Rows, group: Group) -> str | None:
        """Step by the native core, or why not."""
        held = self._held.setdefault((id(group), rows.ps[0].dtype), _native_step.Held())
        return _native_step.run(call, *rows, self.COUNTS, held)

    def _moving(self, group: Group) -> tuple[list[Tensor], list[Tensor]]:
        """The parameters that have a gradient, and their gradients."""
        params = group["params"]
        grads: list[Tensor] = [p.grad for p in params]
        if any(g is None for g in grads):
            params = [p for p in params if p.grad is not None]
            grads = [g for g in grads if g is not None]
        strided = torch.strided
        for g in grads:
            if g.layout is not strided:
                raise RuntimeError(
                    f"{self.SPEC.name}: the gradient of a parameter of shape {tuple(g.shape)} has "
                    f"layout {g.layout}, expected a dense one"
                )
        return params, grads

    def _fusing(self, group: Group) -> _native_step.Native | None:
        """The native core's call for a group that neither names a way to step nor needs one."""
        named = group.get("foreach") is not None or group.get("fused") is False
        if named or group.get("differentiable") or on_tensors(group):
            return None
        return self._native(group)

    def _native(self, group: Group) -> _native_step.Native | None:
        """How the native core takes a step of the group; None where it has no kernel for it."""
        return None

    def _count(self, states: list[State], on_device: bool = False) -> list[Any]:
        """Count a step of each, and the counts."""
        if not self.COUNTS:
            return [0.0] * len(states)
        counts = [state["step"] for state in states]
        torch._foreach_add_(counts, 1 if on_device else ONE)
        return [_exact(c) for c in counts] if on_device else [c.item() for c in counts]

    def _step_each(self, rows: Rows, group: Group, on_device: bool = False) -> None:
        ts = self._count(rows.states, on_device)
        for p, g, state, t in zip(*rows, ts, strict=True):
            g = -g if group.get("maximize") else g
            if p.dtype in HALVES:
                w = p.float()
                self._step_one(w, g.float(), state, self._options(p, group), t)
                p.copy_(w)
            else:
                self._step_one(p, g, state, self._options(p, group), t)

    def _step_rows(self, rows: Rows, group: Group) -> None:
        ts = self._count(rows.states)
        ps, gs, states = rows
        if group.get("maximize"):
            gs = list(torch._foreach_neg(gs))
        options = self._options(ps[0], group)
        if ps[0].dtype not in HALVES:
            return self._step_many(ps, gs, states, options, ts)
        ws = [p.float() for p in ps]
        self._step_many(ws, [g.float() for g in gs], states, options, ts)
        torch._foreach_copy_(ps, ws)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._held = {}
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


def _exact(count: Tensor) -> Tensor:
    """A step count for arithmetic as exact as a Python number's, where the device has float64."""
    return count if count.device.type == "mps" else count.double()
