"""Ten training steps of an MLP within a long run under bpx_torch.health, one of them sampled, and
without."""

from functools import partial

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
        run = partial(_steps, model, x, y, optimizer)
        if label == "bpx":
            # never left: a run is watched from its first step to its last. The sixth of each ten
            # steps is sampled from its beginning, where hooks are put on, to its end.
            health.watch(model, optimizer=optimizer, every=10).__enter__()
        run(5)
        found[label] = Candidate(partial(run, 10))
    return Prepared(found, "bpx")


def _steps(model, x, y, optimizer, count):
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(count):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
