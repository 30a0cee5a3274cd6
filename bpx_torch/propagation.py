"""The passes and trainings of `demo --init` in PyTorch. In JAX: bpx_jax/propagation.py; what they
are for: bpx/demo/propagation.py."""

import numpy as np
import torch

from bpx_torch import RULES
from bpx_torch.optim import Adam


def pass_through(activation, weights, x, g):
    """What every activation is given, and the gradient there; NumPy in and out."""
    h, given = torch.tensor(x), []
    for w in torch.tensor(weights):
        given.append(RULES["linear"](h, w.requires_grad_(), None))
        h = RULES[activation](given[-1])
    gradients = torch.autograd.grad(h, given, torch.tensor(g))
    return torch.stack(given).detach().numpy(), torch.stack(gradients).numpy()


def train(weights, x, y, steps, rate):
    """Losses before every step and after the last, and the hidden weights at the same times."""
    params = {name: torch.tensor(a).requires_grad_() for name, a in weights.items()}
    x, y = torch.tensor(x), torch.tensor(y)
    optimizer = Adam(params.values(), lr=rate)

    def loss():
        hidden = RULES["linear"](x, params["hidden.weight"], params["hidden.bias"])
        hidden = RULES["sigmoid"](hidden)
        logits = RULES["linear"](hidden, params["output.weight"], params["output.bias"])
        return RULES["binary_cross_entropy_with_logits"](logits, y, None, None)

    losses, seen = [], []
    for step in range(steps + 1):
        value = loss()
        losses.append(value.item())
        seen.append(params["hidden.weight"].detach().numpy().copy())
        if step < steps:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return np.array(losses), np.stack(seen)
