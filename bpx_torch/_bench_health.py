"""Ten training steps of an MLP under bpx_torch.health, the first of them sampled, and without."""

import contextlib

import torch

from bpx._bench_health import CLASSES, LEARNING_RATE, layers
from bpx._timing import Candidate, Prepared
from bpx_torch import health


def prepare(dims, dtype, seed) -> Prepared:
    """The default is what bpx adds to; both are torch.nn and torch.optim."""
    found = {}
    for label in ("own", "bpx"):
        torch.manual_seed(seed)
        sizes = layers(dims)
        parts = []
        for i, o in sizes[:-1]:
            parts += [torch.nn.Linear(i, o), torch.nn.ReLU()]
        model = torch.nn.Sequential(*parts, torch.nn.Linear(*sizes[-1]))
        model = model.to(getattr(torch, dtype))
        x = torch.randn(dims["batch"], sizes[0][0]).to(getattr(torch, dtype))
        y = torch.randint(CLASSES, (dims["batch"],))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
        watched = health.watch(model, optimizer=optimizer, every=10)
        about = watched if label == "bpx" else contextlib.nullcontext()
        found[label] = Candidate(_ten(model, x, y, optimizer, about))
    return Prepared(found, "bpx")


def _ten(model, x, y, optimizer, about):
    loss = torch.nn.CrossEntropyLoss()

    def run():
        with about:  # nothing stays open between two runs
            for _ in range(10):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()

    return run
