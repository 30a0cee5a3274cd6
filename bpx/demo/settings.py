"""What a run of the demo depends on, read from the command line and checked once."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from typing import Any

from bpx._command import CommandError

EPOCHS, BATCH_SIZE = 15, 64
DTYPES = ("float32", "float64")
FRAMEWORKS = ("torch", "jax")


@dataclass(frozen=True)
class Settings:
    """`sizes` are the widths of the network, input and output included."""

    seed: int = 0
    epochs: int = EPOCHS
    steps: int | None = None  # instead of epochs
    batch_size: int = BATCH_SIZE
    lr: float = 2e-3
    weight_decay: float = 1e-2
    dtype: str = "float32"
    sizes: tuple[int, ...] = (64, 128, 64, 10)

    def identity(self) -> dict[str, Any]:
        """What decides every number of a step; the length of the run does not."""
        found = asdict(self)
        del found["epochs"], found["steps"]
        return {**found, "sizes": list(self.sizes)}

    def total(self, train: int) -> int:
        """Steps of the run. An epoch leaves out the last batch if it is not full."""
        if self.batch_size > train:
            raise CommandError(
                f"--batch-size is {self.batch_size}, expected at most {train}, the training images"
            )
        return self.epochs * (train // self.batch_size) if self.steps is None else self.steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # numbers stay text here: what is wrong with one is said in one line, without the usage
    new = Settings()
    parser.add_argument("--seed", default=str(new.seed), help=f"default {new.seed}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", default=str(new.epochs), help=f"default {new.epochs}")
    length.add_argument("--steps", help="the length of the run in batches instead")
    size = str(new.batch_size)
    parser.add_argument("--batch-size", default=size, help=f"default {size}")
    parser.add_argument("--lr", default=str(new.lr), help=f"learning rate, default {new.lr}")
    parser.add_argument("--dtype", choices=DTYPES, default=new.dtype)


def from_arguments(args: argparse.Namespace) -> Settings:
    """Raises CommandError for a number that no run can have."""
    return Settings(
        seed=_whole("--seed", args.seed, 0, 2**32 - 1),
        epochs=_whole("--epochs", args.epochs, 1),
        steps=None if args.steps is None else _whole("--steps", args.steps, 1),
        batch_size=_whole("--batch-size", args.batch_size, 1),
        lr=_positive("--lr", args.lr),
        dtype=args.dtype,
    )


def whole(option: str, text: str) -> int:
    return _whole(option, text, 0)


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
