"""Which task belongs to which --model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpx.demo import adversarial, classify, language
from bpx.demo.settings import Settings
from bpx.demo.task import Task

MAKERS: dict[str, Callable[[Settings, Any], Task]] = {
    "mlp": classify.make,
    "cnn": classify.make,
    "rnn": classify.make,
    "transformer": language.make,
    "gan": adversarial.make,
}
