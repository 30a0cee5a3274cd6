"""A demo's network, weights and first batch, for timing whole training steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bpx import random
from bpx.demo import settings as settings_of
from bpx.demo import tasks


def demo(name: str, dtype: str, seed: int) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """(network, weights, settings, one batch) of `train_<model>`."""
    model = name.removeprefix("train_")
    settings = replace(settings_of.defaults(model), dtype=dtype, seed=seed)
    split, order, init, extra = random.split(random.key(seed), 4)
    task = tasks.MAKERS[model](settings, (split, order, extra))
    weights = task.network.initial(init, dtype)
    return task.network, weights, settings, task.data.batch(0, settings.batch_size)
