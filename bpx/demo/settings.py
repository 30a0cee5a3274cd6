"""What a run of the demo depends on, read from the command line and checked once."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from typing import Any

from bpx._command import CommandError

# what --model brings with it, where it is not the defaults of Settings
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "cnn": {"sizes": (16, 32, 64, 10), "epochs": 30, "lr": 3e-3, "decay": 660},
    "rnn": {"sizes": (96, 10), "epochs": 30, "lr": 5e-3, "decay": 660},
    "transformer": {
        "sizes": (64, 64, 4, 2),
        "epochs": 2,
        "batch_size": 32,
        "lr": 3e-3,
        "decay": 620,
    },
    "gan": {
        "sizes": (32, 64),
        "epochs": 80,
        "lr": 2e-3,
        "decay": 1760,
        "weight_decay": 0.0,
        "betas": (0.5, 0.999),
    },
}
FLOOR = 0.05
DTYPES = ("float32", "float64")
FRAMEWORKS = ("torch", "jax")


@dataclass(frozen=True)
class Settings:
    """`sizes` are the sizes of the network: for an mlp its widths, input and output included, for
    the others see bpx/demo/models.py."""

    model: str = "mlp"
    seed: int = 0
    epochs: int = 15
    steps: int | None = None  # instead of epochs
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    decay: int = 0  # steps over which the learning rate falls to FLOOR of it; 0: it does not
    dtype: str = "float32"
    sizes: tuple[int, ...] = (64, 128, 64, 10)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...: half a cosine, whatever the length of the run."""
        if not self.decay:
            return self.lr
        done = min(step / self.decay, 1.0)
        return self.lr * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))

    def identity(self) -> dict[str, Any]:
        """What decides every number of a step; the length of the run does not."""
        found = asdict(self)
        del found["epochs"], found["steps"]
        return {**found, "sizes": list(self.sizes), "betas": list(self.betas)}

    def total(self, train: int, unit: str) -> int:
        """Steps of the run. An epoch leaves out the last batch if it is not full."""
        if self.batch_size > train:
            raise CommandError(
                f"--batch-size is {self.batch_size}, expected at most {train}, the training {unit}"
            )
        return self.epochs * (train // self.batch_size) if self.steps is None else self.steps


def defaults(model: str) -> Settings:
    """A run of the model without any option."""
    return Settings(model=model, **MODELS[model])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # numbers stay text here: what is wrong with one is said in one line, without the usage
    parser.add_argument("--model", choices=tuple(MODELS), default="mlp", help="default mlp")
    parser.add_argument("--seed", default="0", help="default 0")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", help=_by_model("epochs"))
    length.add_argument("--steps", help="the length of the run in batches instead")
    parser.add_argument("--batch-size", help=_by_model("batch_size"))
    parser.add_argument("--lr", help=f"learning rate, {_by_model('lr')}")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")


def _by_model(field: str) -> str:
    values = ((model, getattr(defaults(model), field)) for model in MODELS)
    return "default " + ", ".join(f"{model} {value}" for model, value in values)


def from_arguments(args: argparse.Namespace) -> Settings:
    """Raises CommandError for a number that no run can have."""
    given: dict[str, Any] = {}
    if args.epochs is not None:
        given["epochs"] = _whole("--epochs", args.epochs, 1)
    if args.steps is not None:
        given["steps"] = _whole("--steps", args.steps, 1)
    if args.batch_size is not None:
        given["batch_size"] = _whole("--batch-size", args.batch_size, 1)
    if args.lr is not None:
        given["lr"] = _positive("--lr", args.lr)
    seed = _whole("--seed", args.seed, 0, 2**32 - 1)
    given = {**MODELS[args.model], **given}
    return Settings(model=args.model, seed=seed, dtype=args.dtype, **given)


def whole(option: str, text: str) -> int:
    return _whole(option, text, 0)


def evaluations(text: str) -> int:
    """The budget of --compare, which holds a Hessian and more."""
    return _whole("--evaluations", text, 200, 10**6)


def _whole(option: str, text: str, low: int, high: int | None = None) -> int:
    limits = f"at least {low}" if high is None else f"{low} to {high}"
    try:
        value = int(text)
    except ValueError:
        raise CommandError(f"{option} is {text!r}, expected a whole number, {limits}") from None
    if value < low or (high is not None and value > high):
        raise CommandError(f"{option} is {value}, expected {limits}")
    return value


def _positive(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise CommandError(f"{option} is {text!r}, expected a number above 0")
    return value
