"""One sampled step of bpx_torch.health: what its hooks have seen."""

import torch

from bpx.health import Layer, Parameter, Sample
from bpx_torch import _health_measure as measure


class Sampled:
    """What is seen of one step, on the devices; `finish` brings it over. Units of parameters
    that are in `apart` are not compared."""

    def __init__(self, model, apart=()):
        self.apart = frozenset(apart)
        self.parameters = dict(model.named_parameters())
        self.calls = {}  # layer -> its calls, in the order of forward
        self.before, self.changes, self.weights, self.gradients, self.alike = {}, {}, {}, {}, {}
        self.stance, self.first = None, False

    def hook(self, name, module):
        kind, first = measure.kind(module), measure.channels_first(module)

        def seen(_, args, output):
            x = measure.floats(output)
            if x is not None:
                self.observe(name or type(module).__name__, kind, x, first)

        return seen

    def observe(self, name, kind, x, first):
        """Count a tensor as an output of a layer; `first` as of measure.channels_first."""
        if first is not None:
            self.first = first
        outside = torch._C._functorch.is_functorch_wrapped_tensor(x)
        if outside or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return
        call = self.calls.setdefault(name, Call(kind))
        call.activation.append(measure.moments(x))
        if kind == "relu":
            axis = 1 if self.first and x.dim() > 2 else -1
            call.units(x, axis)
        call.saturated.append(measure.saturated(x, kind))
        if x.requires_grad:
            x.register_hook(lambda g: call.gradient.append(measure.moments(g)))

    def accumulated(self, name):
        def seen(p):
            self._gradients({name: p})

        return seen

    def remember(self, parameters):
        self.before = {n: p.detach().clone() for n, p in parameters.items()}
        self._weigh()

    def _weigh(self):
        self.weights = dict(
            zip(self.parameters, measure.each([*self.parameters.values()]), strict=True)
        )

    def gradients_now(self):
        """Those of all parameters, as the optimizer meets them."""
        self._gradients({n: p for n, p in self.parameters.items() if p.grad is not None})

    def _gradients(self, parameters):
        dense = {n: p for n, p in parameters.items() if p.grad.layout == torch.strided}
        self.gradients |= zip(dense, measure.each([p.grad for p in dense.values()]), strict=True)
        for name, p in dense.items():
            if p.dim() > 1 and name not in self.apart:
                self.alike[name] = measure.twins(self.before.get(name, p), p.grad.detach())

    def after_update(self):
        moved = {n: old for n, old in self.before.items() if self.parameters[n].requires_grad}
        new = [self.parameters[n] for n in moved]
        self.changes = dict(zip(moved, measure.each(new, [*moved.values()]), strict=True))
        self.before = {}

    def close(self):
        """Let go of the model; `finish` may be called long after."""
        if not self.weights:
            self._weigh()
        self.shapes = {n: tuple(p.shape) for n, p in self.parameters.items()}
        self.before = self.parameters = {}

    def finish(self, step):
        """The Sample, everything on the host."""
        flat = []

        def place(values):
            flat.extend(values)
            return slice(len(flat) - len(values), len(flat))

        calls = {
            name: (
                [place(part) for part in call.activation],
                [place(part) for part in call.gradient],
                place([s for s in call.saturated if s is not None]),
                place([] if call.alive is None else [measure.wide(call.alive).mean()]),
            )
            for name, call in self.calls.items()
        }
        own = {
            name: (
                place(self.weights[name]),
                place(self.gradients.get(name, ())),
                place([self.changes[name]] if name in self.changes else []),
                place([] if self.alike.get(name) is None else [self.alike[name]]),
            )
            for name in self.shapes
        }
        read = measure.numbers(flat)

        def mean(where):
            found = read[where]
            return sum(found) / len(found) if found else None

        layers = []
        for name, (activation, gradient, flat_share, living) in calls.items():
            call, share = self.calls[name], mean(living)
            many = share is not None and call.examples > 1
            layers.append(
                Layer(
                    name,
                    call.kind,
                    measure.host([read[i] for i in activation]),
                    measure.host([read[i] for i in gradient]),
                    1 - share if many else None,
                    mean(flat_share),
                    call.examples,
                )
            )
        parameters = []
        for name, (weight, gradient, change, alike) in own.items():
            part = read[gradient]
            parameters.append(
                Parameter(
                    name,
                    name.rpartition(".")[0],
                    self.shapes[name],
                    measure.host([read[weight]]),
                    measure.host([part]) if part else None,
                    mean(change),
                    mean(alike),
                )
            )
        return Sample(step, tuple(layers), tuple(parameters))


class Call:
    """The calls of one layer in one step."""

    def __init__(self, kind):
        self.kind, self.activation, self.gradient, self.saturated = kind, [], [], []
        self.alive, self.examples = None, 0

    def units(self, x, axis):
        alive = measure.alive(x, axis)
        if alive is None or not alive.numel():
            return
        same = self.alive is None or self.alive.shape == alive.shape
        self.alive = alive if self.alive is None or not same else self.alive | alive
        self.examples = x.numel() // alive.numel() + (self.examples if same else 0)
