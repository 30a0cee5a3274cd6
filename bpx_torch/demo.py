"""The demo's trainer in PyTorch. In JAX: bpx_jax/demo.py; the loop: bpx/demo/lockstep.py."""

import numpy as np
import torch

from bpx_torch import RULES
from bpx_torch.bench import saved_bytes
from bpx_torch.optim import AdamW
from bpx_torch.oracles import ORACLES

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}


def prepare(dtype):
    """Before any array is made. One thread: the layers are too small for more to pay."""
    torch.set_num_threads(1)


class Trainer:
    """A network of `bpx.demo.network`, its loss and AdamW, on the CPU."""

    name = "torch"
    version = torch.__version__

    def __init__(self, network, weights, settings):
        self.network, self.dtype = network, getattr(torch, settings.dtype)
        self.params = {k: torch.tensor(a).requires_grad_() for k, a in weights.items()}
        self.optimizer = AdamW(
            self.params.values(), lr=settings.lr, weight_decay=settings.weight_decay
        )

    def step(self, x, y):
        """One step. Returns the loss, and for each layer with parameters its gradient's norm and
        variance, measured before the step."""
        self.optimizer.zero_grad()
        loss = self._loss(RULES, *self._batch(x, y))
        loss.backward()
        rows = []
        for layer in self.network.trained:
            g = torch.cat([self.params[name].grad.flatten() for name in layer.names])
            rows.append([g.norm().item(), g.var(correction=0).item()])
        self.optimizer.step()
        return loss.item(), np.array(rows)

    def gradients(self, x, y, *, own=False):
        """The gradient of every parameter: by bpx's rules, or by torch of its own operations."""
        loss = self._loss(ORACLES if own else RULES, *self._batch(x, y))
        grads = torch.autograd.grad(loss, list(self.params.values()))
        return {k: g.numpy() for k, g in zip(self.params, grads, strict=True)}

    @torch.no_grad()
    def accuracy(self, x, y):
        x, y = self._batch(x, y)
        return (self._logits(RULES, x).argmax(-1) == y).double().mean().item()

    def saved(self, x, y):
        """Bytes kept for backward besides the parameters, by bpx's rules and by torch's own
        operations: a row for each layer and the loss, then the whole network at once."""
        x, y = self._batch(x, y)
        params = tuple(self.params.values())
        calls, h = [], x.clone().requires_grad_()  # each layer is asked for its input's gradient
        for layer in self.network.layers:
            arrays = (h, *(self.params[name] for name in layer.names))
            calls.append((layer.name, layer.entry, arrays, layer.options))
            h = RULES[layer.entry](*arrays, **layer.options).detach().requires_grad_()
        calls.append((self.network.loss, self.network.loss, (h, y, None), {}))
        found = {}
        for name, entry, arrays, options in calls:
            found[name] = tuple(
                saved_bytes(lambda f=table[entry], a=arrays, o=options: f(*a, **o), params).made
                for table in (RULES, ORACLES)
            )
        found["whole network"] = tuple(
            saved_bytes(lambda table=table: self._loss(table, x, y), params).made
            for table in (RULES, ORACLES)
        )
        return found

    def state(self):
        """Everything the next step depends on, as copies: params/*, m/*, v/* and t."""
        arrays = {f"params/{k}": p.detach().numpy().copy() for k, p in self.params.items()}
        t = 0
        for name, p in self.params.items():
            state = self.optimizer.state.get(p)
            t = int(state["step"]) if state else 0
            for short, key in MOMENTS.items():
                a = state[key] if state else torch.zeros_like(p)
                arrays[f"{short}/{name}"] = a.detach().numpy().copy()
        return {**arrays, "t": np.array(t, np.int64)}

    def load(self, arrays):
        """Go on from what `state` gave, in either framework."""
        saved = self.optimizer.state_dict()
        saved["state"] = {}
        for i, (name, p) in enumerate(self.params.items()):
            with torch.no_grad():
                p.copy_(torch.tensor(arrays[f"params/{name}"]))
            moments = {key: torch.tensor(arrays[f"{s}/{name}"]) for s, key in MOMENTS.items()}
            saved["state"][i] = {"step": torch.tensor(float(arrays["t"])), **moments}
        self.optimizer.load_state_dict(saved if arrays["t"] else {**saved, "state": {}})

    def _batch(self, x, y):
        # a copy: torch's memory is aligned, and kernels may round differently where it is not
        return torch.tensor(x, dtype=self.dtype), torch.tensor(y, dtype=torch.int64)

    def _logits(self, table, h):
        for layer in self.network.layers:
            h = table[layer.entry](h, *(self.params[name] for name in layer.names), **layer.options)
        return h

    def _loss(self, table, x, y):
        return table[self.network.loss](self._logits(table, x), y, None)


def walk(chain, values):
    """The toy model of `bpx.demo.walk`: its quantities and the gradients of the loss, by name."""
    wide = {"dtype": torch.float64, "requires_grad": True}
    found = {k: torch.tensor(v, **wide) for k, v in values.items()}
    for name, entry, inputs in chain:
        found[name] = RULES[entry](*(found[i] for i in inputs))
        found[name].retain_grad()
    found["loss"].backward()
    forward = {name: found[name].item() for name, *_ in chain}
    return forward | {f"d{name}": a.grad.item() for name, a in found.items() if a.grad is not None}
