"""The networks of bpx/demo/specimens.py in PyTorch, trained under watch. In JAX:
bpx_jax/specimens.py."""

import torch

import bpx_torch.nn
import bpx_torch.optim
from bpx.demo import specimens
from bpx_torch import health

FACES = {"bpx": (bpx_torch.nn, bpx_torch.optim), "own": (torch.nn, torch.optim)}


class Function(torch.nn.Module):
    """A function as a layer."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


class Residual(torch.nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def layer(nn, op, *sizes):
    match op:
        case "linear":
            return nn.Linear(*sizes)
        case "relu" | "tanh" | "sigmoid":
            return {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[op]()
        case "softmax":
            return nn.Softmax(-1)
        case "layer_norm":
            return nn.LayerNorm(*sizes)
        case "batch_norm":
            return nn.BatchNorm2d(*sizes)
        case "conv":
            return nn.Conv2d(*sizes, 3, padding=1)
        case "attention":

            class SelfAttention(nn.MultiheadAttention):
                def forward(self, x):
                    return super().forward(x, x, x, need_weights=False)[0]

            return SelfAttention(*sizes, batch_first=True)
        case "rnn":
            return nn.RNN(*sizes, nonlinearity="relu", batch_first=True)
        case "lstm":
            return nn.LSTM(*sizes, batch_first=True)
        case "residual":
            return Residual(*(layer(nn, *inner) for inner in sizes))
        case "last":
            return Function(lambda x: (x[0] if isinstance(x, tuple) else x)[:, -1])
        case "pool":
            return Function(lambda x: x.mean((2, 3)))
        case "exp" | "sqrt":
            return Function(getattr(torch, op))
    raise ValueError(op)


def loss_of(specimen, y, labels):
    if specimen.loss == "log":
        share = y / y.sum(1, keepdim=True)
        return -share[torch.arange(len(y)), labels].log().mean()
    return bpx_torch.functional.cross_entropy(y, labels)


def report(specimen, seed, face="bpx", every=specimens.EVERY):
    """Train a specimen with bpx's modules or torch's own; its health.Report."""
    nn, optim = FACES[face]
    model = torch.nn.Sequential(*(layer(nn, *op) for op in specimen.ops))
    given = {k: torch.tensor(v) for k, v in specimens.weights(specimen, seed).items()}
    model.load_state_dict(given, strict=False)  # a batch norm's statistics begin as they do
    maker = {"sgd": optim.SGD, "adam": optim.Adam}[specimen.optimizer]
    optimizer = maker(model.parameters(), lr=specimen.lr)
    with health.watch(model, optimizer, every) as h:
        for x, labels in specimens.batches(specimen, seed):
            optimizer.zero_grad()
            y = model(torch.tensor(x))
            loss = loss_of(specimen, y, torch.tensor(labels).long())
            health.tag(loss, "loss", "loss").backward()
            optimizer.step()
    return h.report()
