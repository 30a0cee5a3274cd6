"""Names of torch.nn and torch.nn.functional beside bpx's of the same names."""

import torch

import bpx_torch.functional
import bpx_torch.nn
from bpx._timing import Candidate, Prepared
from bpx.bench_faces import FACES, Data, Labels

HOMES = {
    "functional": (torch.nn.functional, bpx_torch.functional),
    "nn": (torch.nn, bpx_torch.nn),
}


def prepare(name, size, dtype, seed) -> Prepared:
    """Forward and gradients of the inputs and parameters. The default is bpx's."""
    call = FACES[name][size]
    numbers = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, dtype)
    inputs = [_drawn(given, dtype, numbers) for given in call.inputs]
    home, _, face = name.partition(",")[0].partition(".")
    found, weights, dy = {}, None, None
    for label, module in zip(("own", "bpx"), HOMES[home], strict=True):
        run, params = getattr(module, face), []
        if home == "nn":
            run = run(**call.options).to(dtype)
            weights = run.state_dict() if weights is None else weights
            run.load_state_dict(weights)
            params = list(run.parameters())
        forward = _first(run, inputs, call.options if home == "functional" else {})
        dy = torch.randn(forward().shape, dtype=dtype, generator=numbers) if dy is None else dy
        found[label] = _candidate(forward, [a for a in inputs if a.requires_grad] + params, dy)
    return Prepared(found, "bpx")


def _drawn(given, dtype, numbers):
    if isinstance(given, Labels):
        return torch.randint(given.below, given.shape, generator=numbers)
    if not isinstance(given, Data):
        return torch.randn(given, dtype=dtype, generator=numbers).requires_grad_()
    drawn = torch.randn(given.shape, dtype=dtype, generator=numbers)
    return {"normal": drawn, "sign": drawn.sign(), "unit": drawn.sigmoid()}[given.kind]


def _first(run, inputs, options):
    """The first result of a call: a recurrent module and attention return several."""

    def forward():
        y = run(*inputs, **options)
        return y[0] if isinstance(y, tuple) else y

    return forward


def _candidate(forward, wrt, dy):
    return Candidate(lambda: torch.autograd.grad(forward(), wrt, dy, allow_unused=True))
