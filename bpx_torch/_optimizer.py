"""What the optimizers share: groups, state, closures, the loops over tensors and over lists.

An optimizer says which state a parameter starts with (`_start`) and moves one parameter
(`_step_one`) or a list of them (`_step_many`). A 16-bit parameter is handed to them in float32 and
rounded once when it is written; its state is float32. A step that names no way is one call of the
native core on a CPU, one launch on a GPU, where these take it (`_native`, docs/native.md);
`fused=True` raises where they do not, `foreach=False` and `fused=False` ask for the loops. State
keys, shapes and other dtypes are those of torch.optim, so a state_dict goes both ways.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from bpx.spec import Optimizer, SpecError
from bpx_torch import _device_step, _native_step
from bpx_torch._rows import Group, Rows, State, alike, by_list, on_tensors, states_of
from bpx_torch._scalars import Number, exact
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
        self._held: dict[Any, Any] = {}
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
        states = states_of(self.state, params)
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
        whole, call = Rows(params, grads, states), self._fusing(group)
        if call is not None and self._run(call, whole, group) is None:
            return
        lists = "foreach" in self.defaults and by_list(group, params)
        for rows in alike(whole):
            reason = "" if call is None else self._run(call, rows, group)
            if reason is None:
                continue
            if reason and group.get("fused") and self._begun(rows.states, group):
                raise SpecError(f"{self.SPEC.name}: fused is True, expected None ({reason})")
            if lists:
                self._step_rows(rows, group)
            else:
                self._step_each(rows, group)

    def _run(self, call: _native_step.Native, rows: Rows, group: Group) -> Any:
        """Step by one call of the native core or of a GPU's kernel, or why not."""
        p = rows.ps[0]
        way: Any = _device_step if _device_step.here(p) else _native_step
        held = self._held.setdefault((id(group), way, p.dtype, p.device), way.Held())
        return way.run(call, *rows, self.COUNTS, held)

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
        """A kernel's call for a group that neither names a way to step nor needs one."""
        named = group.get("foreach") is not None or group.get("fused") is False
        free = not (named or group.get("differentiable") or on_tensors(group))
        return self._native(group) if free else None

    def _native(self, group: Group) -> _native_step.Native | None:
        """How a kernel takes a step of the group; None where there is none."""
        return None

    def _begun(self, states: list[State], group: Group) -> bool:
        """Whether the states are those of a step that is not the first."""
        return True

    def _count(self, states: list[State], on_device: bool = False) -> list[Any]:
        """Count a step of each, and the counts."""
        if not self.COUNTS:
            return [0.0] * len(states)
        counts = [state["step"] for state in states]
        torch._foreach_add_(counts, 1 if on_device else ONE)
        return [exact(c) for c in counts] if on_device else [c.item() for c in counts]

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
