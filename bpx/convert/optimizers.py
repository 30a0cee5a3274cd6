"""The state of an optimizer, in torch's form: arrays by state key and parameter name, a step count
for each parameter, options by group. optax has one tree for each array, one count, and no options
in its state; bpx/convert/methods.py is the table between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bpx.convert import _factored, _memory
from bpx.convert._arrays import Array, is_floating
from bpx.convert.methods import Options, Recipe, method
from bpx.convert.structure import Structure, same_names
from bpx.spec import SpecError, require

LARGEST = 2**31 - 1  # optax counts in int32


@dataclass(frozen=True)
class Group:
    """A parameter group: the names of its parameters, in order, and its options (JSON values)."""

    names: tuple[str, ...]
    options: Options


@dataclass(frozen=True)
class OptimizerState:
    """name: torch.optim's class; slots: state key -> parameter's name -> array; steps by name."""

    name: str
    groups: tuple[Group, ...]
    steps: Mapping[str, int]
    slots: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [n for group in self.groups for n in group.names]

    def by_name(self) -> dict[str, Options]:
        """The options of each parameter."""
        return {n: group.options for group in self.groups for n in group.names}

    def parts(self) -> list[OptimizerState]:
        """This one as several, each with one set of options and one step count."""
        found: list[list[Group]] = []
        for group in self.groups:
            for others in found:
                if self._alike(others[0], group):
                    others.append(group)
                    break
            else:
                found.append([group])
        return [self._of(tuple(groups)) for groups in found if any(g.names for g in groups)]

    def _alike(self, a: Group, b: Group) -> bool:
        counts = [{self.steps.get(n, 0) for n in g.names} for g in (a, b)]
        return dict(a.options) == dict(b.options) and counts[0] == counts[1]

    def _of(self, groups: tuple[Group, ...]) -> OptimizerState:
        own = {n for g in groups for n in g.names}
        slots = {k: {n: a for n, a in s.items() if n in own} for k, s in self.slots.items()}
        steps = {n: t for n, t in self.steps.items() if n in own}
        slots = {k: s for k, s in slots.items() if s}
        return replace(self, groups=groups, steps=steps, slots=slots)

    def options(self) -> Options:
        """The options of all groups, where they agree."""
        first, *others = (group.options for group in self.groups)
        for other in others:
            differing = sorted(k for k in first if first[k] != other.get(k))
            require(
                not differing,
                f"convert: {self.name}: the groups differ in {', '.join(differing)}, expected one "
                "set of options (an optax transformation has one)",
            )
        return first

    def recipe(self) -> Recipe:
        """The optax optimizer that continues this one."""
        options = self.options()
        damped = self.name == "SGD" and options["momentum"] and options.get("dampening")
        require(
            not damped or "momentum_buffer" in self.slots,
            f"convert: sgd: dampening is {options.get('dampening')!r} before the first step, "
            "expected 0 or a step taken (torch does not dampen the first one, optax has none)",
        )
        require(
            self.name != "LBFGS" or bool(self.slots),
            "convert: lbfgs: the run is before its first step, expected a step taken (torch makes "
            "the first one by the sum of a gradient's sizes, optax by its norm)",
        )
        found = method(self.name).recipe(options)
        return replace(found, maximize=bool(options.get("maximize")))

    def check(self, structure: Structure) -> None:
        """Raise SpecError unless every array is of a parameter and has its shape; a key has all of
        a group's parameters or none."""
        same_names(
            "convert", {_memory.base(k) for k in self.slots}, set(), set(method(self.name).slots)
        )
        same_names("convert", set(self.names()), set(), set(structure.parameters()))
        for key, arrays in self.slots.items():
            same_names(f"convert: {key}", arrays, set(), set(self.names()))
        unknown = sorted(set(self.steps) - set(self.names()))
        require(not unknown, f"convert: {self.name}: step of {unknown[:1]} is not expected")
        for part in self.parts():
            part._check(structure)

    def _check(self, structure: Structure) -> None:
        row = method(self.name)
        if row.memory and self.slots:
            same_names("convert", self.slots, {"prev_params", "prev_flat_grad"}, set(self.slots))
            _memory.length(self.slots, self.options()["history_size"])
        sizes = {n: structure.arrays[n].shape for n in self.names()}
        reduced = {}
        if row.factored:
            held = {n: _factored.shapes(sizes[n], o) for n, o in self.by_name().items()}
            reduced = {k: {n: s[k] for n, s in held.items() if k in s} for k in _factored.KEYS}
            begun = any(k in self.slots for k in _factored.KEYS)
            for key in (k for k in _factored.KEYS if begun and reduced[k]):
                require(key in self.slots, f"convert: {key} is missing")
        for key, arrays in self.slots.items():
            wanted = reduced.get(key, sizes)
            same_names(f"convert: {key}", arrays, set(wanted))
            for name, a in arrays.items():
                shape = wanted[name]
                require(
                    tuple(a.shape) == shape,
                    f"convert: {key} of {name} has shape {tuple(a.shape)}, expected {shape}",
                )
                require(
                    is_floating(a),
                    f"convert: {key} of {name} has dtype {a.dtype}, expected a floating one",
                )

    def json(self) -> dict[str, Any]:
        """As JSON values, without the arrays."""
        groups = [[list(g.names), dict(g.options)] for g in self.groups]
        return {"name": self.name, "groups": groups, "steps": dict(self.steps)}

    @staticmethod
    def of_json(value: Any, slots: Mapping[str, Mapping[str, Array]]) -> OptimizerState:
        """The inverse of json(). Raises SpecError for anything else."""
        try:
            groups = tuple(Group(tuple(map(str, n)), dict(o)) for n, o in value["groups"])
            steps = {str(k): int(v) for k, v in value["steps"].items()}
            return OptimizerState(str(value["name"]), groups, steps, slots)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SpecError("convert: optimizer is not one that bpx wrote") from error

    def moved(
        self, slots: Mapping[str, Mapping[str, Array]], steps: Mapping[str, int]
    ) -> OptimizerState:
        """The same optimizer, later."""
        return replace(self, slots=slots, steps=steps)
