"""A small causal transformer on the docstrings of Python's library, character by character.

It is judged beside a bigram model, which knows the character before alone, on the same characters
held back. The text it writes is sampled with the same random numbers in every framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import random
from bpx.demo import models, text
from bpx.demo.lockstep import Limit, State
from bpx.demo.settings import Settings
from bpx.demo.task import Card, Figure, Task, Verdict
from bpx.demo.text import ALPHABET

JUDGED = 512  # windows held back that are judged, at most
CHUNK = 64  # windows at a time
WRITTEN = 320  # characters
PROMPT = "Return "
SMOOTHING = 0.1  # added to every count of the bigram model


@dataclass(frozen=True)
class Windows:
    """Windows of the text that start anywhere, and the characters one further."""

    characters: Any
    key: Any
    context: int

    def batch(self, step: int, size: int) -> Any:
        words = random.bits(random.fold_in(self.key, step), (size,))
        begin = (words % np.uint32(len(self.characters) - self.context)).astype(np.int64)
        at = begin[:, None] + np.arange(self.context)
        return self.characters[at], self.characters[at + 1]


def bigram(train: Any, x: Any, y: Any) -> float:
    """The loss, in nats per character, of the relative frequencies of pairs in `train`."""
    size = len(ALPHABET)
    counts = np.bincount(train[:-1].astype(np.int64) * size + train[1:], minlength=size**2)
    smooth = counts.reshape(size, size) + SMOOTHING
    return float(-np.log(smooth / smooth.sum(1, keepdims=True))[x, y].mean())


def make(settings: Settings, keys: Any) -> Task:
    _, order, extra = keys
    context = settings.sizes[0]
    found = text.load()
    net = models.transformer(len(ALPHABET), settings.sizes)
    count = min(JUDGED, (len(found.test) - 1) // context)
    x, y = (found.test[i : i + count * context].reshape(count, context) for i in (0, 1))
    baseline = bigram(found.train, x, y)

    def judge(trainers: list[Any], state: State, short: str) -> Verdict:
        losses = {t.name: loss(t, net, x, y) for t in trainers}
        figures = [
            Figure(f"{v:.3f}", f"test loss, nats per character, {k}", k) for k, v in losses.items()
        ]
        figures.append(Figure(f"{baseline:.3f}", "test loss of the bigram model"))
        worst = max(losses.values())
        limit = Limit(
            "test loss, nats per character",
            f"< {baseline:.3f}, the bigram model's",
            f"{worst:.3f}{short}",
            None if short else worst < baseline,
        )
        cards = tuple(
            Card(f"Written by {t.name}", REMARK, text=write(t, net, extra, context))
            for t in trainers
        )
        return Verdict(tuple(figures), (limit,), cards, "What it writes", WORDS)

    _, width, heads, blocks = settings.sizes
    about = (
        f"{found.docstrings} docstrings of {len(text.MODULES)} modules of Python's library, "
        f"{len(found.train)} characters to train on and {len(found.test)} held back, of which "
        f"{count * context} are judged; {len(ALPHABET)} different characters; sha256 "
        f"{found.digest}"
    )
    summary = (
        f"A causal transformer of {blocks} blocks, width {width}, {heads} heads and a context of "
        f"{context} characters, {{parameters}} parameters, trained on the docstrings of Python's "
        "library"
    )
    return Task(
        net,
        Windows(found.train, order, context),
        len(found.train) // context,
        "windows",
        summary,
        {"data": about},
        judge,
        verified=8,
        loss_unit="nats per character",
        lines=(("bigram model, held back", baseline),),
        identity={"text": found.digest},
    )


REMARK = f"sampled after “{PROMPT}”, at temperature 1"
WORDS = "From the same random numbers in every framework, one for each character."


def loss(trainer: Any, net: Any, x: Any, y: Any) -> float:
    """The mean over all characters, in float64."""
    total = 0.0
    for begin in range(0, len(x), CHUNK):
        part = slice(begin, begin + CHUNK)
        logp = log_softmax(trainer.values(net, x[part]))
        total -= float(np.take_along_axis(logp, y[part, :, None], -1).sum())
    return total / y.size


def log_softmax(logits: Any) -> Any:
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))


def write(trainer: Any, net: Any, key: Any, context: int) -> str:
    """Characters drawn one after another, each from what the network gives after the last ones."""
    places = list(text.encode(PROMPT))
    for u in random.uniform(key, (WRITTEN,), np.float64):
        seen = places[-context:]
        # behind the last character there may be anything: attention does not look there
        padded = np.array([seen + [0] * (context - len(seen))], np.int32)
        p = np.exp(log_softmax(trainer.values(net, padded)[0, len(seen) - 1]))
        places.append(min(int(np.searchsorted(p.cumsum(), u)), len(ALPHABET) - 1))
    return text.decode(places)
