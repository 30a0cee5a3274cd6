"""The digits told apart: by an MLP, by a CNN that sees them shifted, by an LSTM row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import random
from bpx.demo import digits, models, network
from bpx.demo.digits import SIDE, Digits
from bpx.demo.lockstep import Limit, State
from bpx.demo.settings import Settings
from bpx.demo.task import Figure, Task, Verdict
from bpx.layers.dropout import keep_bits

ACCURACY = {"mlp": 0.97, "cnn": 0.985, "rnn": 0.95}
APART = 0.005
DROPOUT = 0.3
SHIFT = 1  # pixels, at most, in each direction
BACKGROUND = -1.0


@dataclass(frozen=True)
class Augmented(Digits):
    """Training images each shifted by a draw of its own, with the mask of a dropout layer over
    `width` values of each image."""

    extra: Any  # key of the shifts and of the masks
    width: int

    def batch(self, step: int, size: int) -> Any:
        plain = super().batch(step, size)
        shift, mask = random.split(random.fold_in(self.extra, step))
        kept = keep_bits(mask, (size, self.width), p=DROPOUT)
        return shifted(shift, plain.x), plain.y, kept


def shifted(key: Any, x: Any) -> Any:
    """Images (B 64) moved by -SHIFT to SHIFT pixels down and to the right, all equally likely but
    for 2^-31; background comes in from outside."""
    rows, choices = len(x), 2 * SHIFT + 1
    padding = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
    wide = np.pad(x.reshape(rows, SIDE, SIDE), padding, constant_values=BACKGROUND)
    down, right = (random.bits(key, (2, rows)) % choices).astype(np.int64)
    places = np.arange(SIDE)
    i = down[:, None, None] + places[:, None]
    j = right[:, None, None] + places
    return wide[np.arange(rows)[:, None, None], i, j].reshape(rows, -1)


def make(settings: Settings, keys: Any) -> Task:
    split, order, extra = keys
    data: Digits = digits.load(split, order, settings.dtype)
    sizes, facts = settings.sizes, "8 x 8 pixels"
    if settings.model == "mlp":
        net = network.mlp(sizes)
        summary = " – ".join(map(str, sizes)) + " units, {parameters} parameters, trained on "
        summary += "handwritten digits"
    elif settings.model == "cnn":
        net = models.cnn(sizes, DROPOUT)
        data = Augmented(data.train, data.test, order, extra, sizes[2] * (SIDE // 4) ** 2)
        facts += f"; training images shifted by up to {SHIFT} pixel each way"
        summary = (
            f"Three convolutions with {sizes[0]}, {sizes[1]} and {sizes[2]} channels, "
            "{parameters} parameters, trained on handwritten digits"
        )
    else:
        net = models.rnn(sizes)
        summary = (
            f"An LSTM of {sizes[0]} units, {{parameters}} parameters, trained on handwritten "
            "digits that it reads row by row"
        )

    def judge(trainers: list[Any], state: State, short: str) -> Verdict:
        found = {t.name: accuracy(t.values(net, data.test.x), data.test.y) for t in trainers}
        figures = (Figure(f"{100 * a:.2f} %", f"test accuracy, {k}", k) for k, a in found.items())
        return Verdict(tuple(figures), tuple(limits(settings.model, found, short)))

    about = f"{len(data.train.y)} training images and {len(data.test.y)} test images, {facts}"
    few = 16 if settings.model == "cnn" else None
    count = len(data.train.y)
    return Task(net, data, count, "images", summary, {"data": about}, judge, verified=few)


def accuracy(logits: Any, labels: Any) -> float:
    return float((logits.argmax(-1) == labels).mean())


def limits(model: str, found: dict[str, float], short: str) -> list[Limit]:
    rows = []
    if len(found) == 2:
        apart = max(found.values()) - min(found.values())
        rows.append(
            Limit(
                "test accuracies apart",
                f"<= {100 * APART:g} points",
                f"{100 * apart:.2f} points",
                apart <= APART,
            )
        )
    least, wanted = min(found.values()), ACCURACY[model]
    rows.append(
        Limit(
            "test accuracy",
            f">= {100 * wanted:g} %",
            f"{100 * least:.2f} %{short}",
            None if short else least >= wanted,
        )
    )
    return rows
