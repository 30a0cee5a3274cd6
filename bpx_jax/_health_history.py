"""What bpx_jax.health has seen of a step, and the samples of a run."""

import math
import re
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from bpx import health
from bpx.health import Layer, Parameter, Sample
from bpx.health.thresholds import ENTRY
from bpx.spec import require
from bpx_jax import _health_measure as measure

AHEAD = 100  # steps that a History lets run ahead of what it has read


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("sampled", "numbers", "updates"),
    meta_fields=("tags", "names", "shapes", "form"),
)
@dataclass(frozen=True)
class Statistics:
    """What was seen of one step, a pytree of three arrays: one of hundreds would cost more to hand
    over than to compute.

    sampled   scalar, whether this step was looked at; the others are zero where not
    numbers   a few for each layer and parameter: `parts` tells them apart
    updates   the size of each parameter's update, from `with_updates`; None before
    """

    sampled: Any
    numbers: Any
    updates: Any
    tags: tuple
    names: tuple
    shapes: tuple
    form: tuple  # of parts: tree and shapes of the leaves

    def parts(self):
        """(tag's name -> its sums, one dict of numbers for each parameter: sums of weight and
        gradient, twins)."""
        tree, shapes = self.form
        ends = np.cumsum([math.prod(s) for s in shapes])
        pieces = np.split(np.asarray(self.numbers), ends[:-1]) if shapes else []
        return tree.unflatten([x.reshape(s) for x, s in zip(pieces, shapes, strict=True)])


class History(health.History):
    """The samples of a run: `add` each step's Statistics, then `report()`."""

    def __init__(self, keep=1000):
        super().__init__(keep)
        self._coming = deque()  # steps that may not be computed yet, with their Statistics
        self._last = -1

    def add(self, step, seen):
        """Keep the Statistics of a step, the first being step 0; those that were not sampled are
        passed over. Does not wait for the step to be computed, but where AHEAD are not. Raises
        SpecError for anything else, and for a step that does not come after the last."""
        require(
            isinstance(seen, Statistics),
            f"{ENTRY}: seen is {type(seen).__name__}, expected the Statistics of value_and_grad",
        )
        require(
            step > self._last,
            f"{ENTRY}: step is {step}, expected more than {self._last}, the step before it",
        )
        self._last = int(step)
        self._coming.append((int(step), seen))
        while self._coming and (len(self._coming) > AHEAD or _is_there(self._coming[0][1])):
            self._settle()

    @property
    def samples(self):
        while self._coming:
            self._settle()
        return super().samples

    def _settle(self):
        step, seen = self._coming.popleft()
        if bool(seen.sampled):
            self.postpone(step, partial(_sample, step, seen))  # read when asked for


def _is_there(seen):
    """Whether it can be read without waiting; what is no array of JAX's always can."""
    ready = getattr(seen.sampled, "is_ready", None)
    return ready is None or ready()


def _sample(step, seen):
    seen = jax.device_get(seen)
    sums, of_parameters = seen.parts()
    layers = [
        _layer(name, each, sums[name])
        for name, each in seen.tags
        if sums[name]["activation"][0] > 0  # what the value does not depend on has no sums
    ]
    owners = sorted((layer.name for layer in layers), key=len, reverse=True)
    parameters = []
    updates = [None] * len(seen.names) if seen.updates is None else seen.updates.tolist()
    of_each = zip(seen.names, seen.shapes, of_parameters, updates, strict=True)
    for name, shape, each, update in of_each:
        owner = next((o for o in owners if name == o or name.startswith(f"{o}.")), None)
        parameters.append(
            Parameter(
                name,
                name.rpartition(".")[0] if owner is None else owner,
                shape,
                measure.moments(each["weight"]),
                measure.moments(each["gradient"]),
                update,
                float(each["twins"]) if "twins" in each else None,
            )
        )
    return Sample(step, tuple(layers), tuple(sorted(parameters, key=lambda p: _natural(p.name))))


def _layer(name, each, seen):
    sums = dict(zip(measure.FIELDS, seen["activation"].tolist(), strict=True))
    activation = measure.moments(seen["activation"])
    examples = round(sums["count"] / each.units) if each.units else 0
    dead = float((seen["alive"] == 0).mean()) if examples > 1 else None
    bounded = health.KINDS[each.kind] is not None and activation.count
    return Layer(
        name,
        each.kind,
        activation,
        measure.moments(seen["gradient"]),
        dead,
        sums["saturated"] / activation.count if bounded else None,
        examples,
    )


def _natural(name):
    """Layer 10 after layer 9: runs of digits count as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]
