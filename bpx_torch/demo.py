"""The demo's trainer in PyTorch. In JAX: bpx_jax/demo.py; the loop: bpx/demo/lockstep.py."""

from functools import partial

import numpy as np
import torch

from bpx.demo.wiring import at
from bpx_torch import RULES
from bpx_torch.bench import saved_bytes
from bpx_torch.optim import AdamW
from bpx_torch.oracles import ORACLES

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
WIRING = {
    "reshape": lambda x, *, shape: x.reshape(x.shape[0], *shape),
    "transpose": lambda x, *, axes: x.permute(axes),
    "add": torch.add,
    "pick": lambda x, *, index: x[at(index)],
    "zeros": lambda x, *, axis, width: x.new_zeros(x.shape[axis], width),
    "concat": lambda a, b: torch.cat([a, b]),
}


def prepare(dtype):
    """Before any array is made. One thread: the layers are too small for more to pay."""
    torch.set_num_threads(1)


class Trainer:
    """A network of `bpx.demo.network`, its losses and an AdamW for each, on the CPU."""

    name = "torch"
    version = torch.__version__

    def __init__(self, network, weights, settings):
        self.network, self.dtype = network, getattr(torch, settings.dtype)
        self.settings, self.steps = settings, 0
        self.params = {k: torch.tensor(a).requires_grad_() for k, a in weights.items()}
        self.optimizers = [
            AdamW(
                [self.params[name] for name in part.own],
                lr=settings.lr,
                betas=settings.betas,
                weight_decay=settings.weight_decay,
            )
            for part in network.parts
        ]

    def step(self, *arrays):
        """One step of every loss in turn. Returns the loss (or losses), and for each layer with
        parameters its gradient's norm and variance, measured before the step."""
        losses, rows = [], []
        for part, optimizer in zip(self.network.parts, self.optimizers, strict=True):
            optimizer.zero_grad()
            loss = self.loss(RULES, part, self.given(part, arrays))
            loss.backward()
            for layer in part.trained:
                g = torch.cat([self.params[name].grad.flatten() for name in layer.names])
                rows.append([g.norm().item(), g.var(correction=0).item()])
            optimizer.param_groups[0]["lr"] = self.settings.rate(self.steps)
            optimizer.step()
            losses.append(loss.item())
        self.steps += 1
        return losses[0] if len(losses) == 1 else np.array(losses), np.array(rows)

    def gradients(self, *arrays, part=0, own=False):
        """The gradient of every parameter that a loss trains: by bpx's rules, or by torch of its
        own operations."""
        part = self.network.parts[part]
        loss = self.loss(ORACLES if own else RULES, part, self.given(part, arrays))
        grads = torch.autograd.grad(loss, [self.params[name] for name in part.own])
        return {k: g.numpy() for k, g in zip(part.own, grads, strict=True)}

    @torch.no_grad()
    def values(self, network, *arrays):
        """What the last layer of a network gives, dropout left out."""
        return self._run(RULES, network, self.given(network, arrays), training=False).numpy()

    def saved(self, *arrays):
        """Bytes kept for backward besides the parameters, by bpx's rules and by torch's own
        operations: a row for each layer and loss, then each whole network at once."""
        found = {}
        params = tuple(self.params.values())
        for part in self.network.parts:
            given, calls = self.given(part, arrays), []

            def call(layer, arrays, part=part, calls=calls):
                # each layer is asked for the gradient of every float that it takes
                arrays = tuple(map(_asked, arrays))
                if not layer.wiring and layer.name.startswith(part.trains):
                    calls.append((layer.name, layer.entry, arrays, layer.complete))
                return _call(RULES, layer, arrays).detach()

            logits = part.apply(call, self.params, given, training=True)
            ends = (_asked(logits), given[part.target], *part.loss_absent())
            calls.append((f"{part.name} {part.loss}".strip(), part.loss, ends, {}))
            for name, entry, inputs, options in calls:
                found[name] = tuple(
                    saved_bytes(partial(table[entry], *inputs, **options), params).made
                    for table in (RULES, ORACLES)
                )
            found[f"whole network {part.name}".strip()] = tuple(
                saved_bytes(partial(self.loss, table, part, given), params).made
                for table in (RULES, ORACLES)
            )
        return found

    def state(self):
        """Everything the next step depends on, as copies: params/*, m/*, v/* and t."""
        arrays = {f"params/{k}": p.detach().numpy().copy() for k, p in self.params.items()}
        states = {p: s for optimizer in self.optimizers for p, s in optimizer.state.items()}
        t = 0
        for name, p in self.params.items():
            state = states.get(p)
            t = int(state["step"]) if state else 0
            for short, key in MOMENTS.items():
                a = state[key] if state else torch.zeros_like(p)
                arrays[f"{short}/{name}"] = a.detach().numpy().copy()
        return {**arrays, "t": np.array(t, np.int64)}

    def load(self, arrays):
        """Go on from what `state` gave, in either framework."""
        self.steps = int(arrays["t"])
        for name, p in self.params.items():
            with torch.no_grad():
                p.copy_(torch.tensor(arrays[f"params/{name}"]))
        for part, optimizer in zip(self.network.parts, self.optimizers, strict=True):
            saved = optimizer.state_dict()
            saved["state"] = {}
            for i, name in enumerate(part.own if arrays["t"] else ()):
                moments = {key: torch.tensor(arrays[f"{s}/{name}"]) for s, key in MOMENTS.items()}
                saved["state"][i] = {"step": torch.tensor(float(arrays["t"])), **moments}
            optimizer.load_state_dict(saved)

    def given(self, part, arrays):
        return {name: self._put(a) for name, a in part.given(arrays).items()}

    def _put(self, a):
        # a copy: torch's memory is aligned, and kernels may round differently where it is not
        kinds = {"f": self.dtype, "i": torch.int64, "u": torch.uint8}
        return torch.tensor(a, dtype=kinds[a.dtype.kind])

    def _run(self, table, part, given, *, training=True):
        # a network that this loss does not train is a constant to it
        own = {k: p if k.startswith(part.trains) else p.detach() for k, p in self.params.items()}
        return part.apply(partial(_call, table), own, given, training=training)

    def loss(self, table, part, given):
        logits = self._run(table, part, given)
        return table[part.loss](logits, given[part.target], *part.loss_absent())


def _call(table, layer, arrays):
    return (WIRING if layer.wiring else table)[layer.entry](*arrays, **layer.complete)


def _asked(a):
    return a.detach().requires_grad_() if a is not None and a.is_floating_point() else a


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
