"""One sampled step of bpx_torch.health: what its hooks have seen."""

from collections import OrderedDict
from itertools import count

import torch

from bpx.health import Layer, Parameter, Sample
from bpx_torch import _health_measure as measure
from bpx_torch import _health_native as core
from bpx_torch._health_call import Call
from bpx_torch._health_parameters import Look

_gradient_of = torch.Tensor.grad.__get__
_KEYS = count(-1, -1)  # of hooks; torch's own are 0 and more


class Sampled:
    """What is seen of one step of the model of a Plan, on the devices; `finish` brings it over.
    Units of parameters that are in `apart` are not compared."""

    def __init__(self, plan, apart=()):
        self.plan, self.layers, self.apart = plan, plan.layers, frozenset(apart)
        self.calls = {}  # layer -> its calls, in the order of forward
        self.looks = []  # at parameters that the native core takes
        self.handles = []  # of hooks on leaves, which outlive the step
        self.before, self.changes, self.weights, self.gradients, self.alike = {}, {}, {}, {}, {}
        self.stance, self.first, self.key = None, False, next(_KEYS)

    def watch(self):
        """Put a hook on every module of the Plan, as register_forward_hook does, whose handles take
        longer than the moments of a small layer."""
        for module, layer in self.layers.items():
            module._forward_hooks[self.key] = self._hook(*layer)

    def leave(self):
        """Take the hooks off the modules."""
        for module in self.layers:
            module._forward_hooks.pop(self.key, None)

    def _hook(self, name, kind, first):
        def seen(_, args, output):
            self.observe(name, kind, first, output)

        return seen

    def observe(self, name, kind, first, output):
        """Count an output of a layer; `first` as of measure.channels_first."""
        if torch.compiler.is_compiling() or self.plan is None:
            return  # or a module that was copied with its hook, after the step
        at = core.address(output)
        x = output if at else measure.floats(output)
        if x is None:
            return
        if first is not None:
            self.first = first
        if not torch.is_grad_enabled() or (not at and core.inside(x)):
            return
        call = self.calls.get(name)
        if call is None:
            call = self.calls[name] = Call(kind)
        call.output(x, at, 1 if self.first and x.dim() > 2 else -1)
        if not x.requires_grad:
            return
        node = x.grad_fn
        if node is not None and at and x._backward_hooks is None:
            # as Tensor.register_hook does, whose handles take longer than a small layer's moments
            hooks = x._backward_hooks = OrderedDict()
            node._register_hook_dict(x)
            hooks["bpx"] = call.slope
        else:
            handle = x.register_hook(call.slope)
            if node is None:
                self.handles.append(handle)

    def accumulated(self, name):
        """A parameter's hook, for a watch without an optimizer."""

        def seen(p):
            if p.grad.layout == torch.strided:
                self.gradients[name] = measure.moments(p.grad)
                if p.dim() > 1:
                    self._compare(name, p, p.grad)

        return seen

    def before_update(self, held=None):
        """Look at the weights; copy all parameters, or those whose id is in `held`, and with it
        look at their gradients, as the optimizer meets them."""
        self.looks = []
        groups, rest = self.plan.groups(held)
        for group in groups:
            slopes = None if held is None else [*map(_gradient_of, group.parameters)]
            look = Look(group, slopes, group.copied)
            self.looks.append(look)
            if slopes is not None and 0 in look.slopes:
                for name, g, at in zip(group.names, slopes, look.slopes, strict=True):
                    if not at:
                        self._gradient(name, g)
        for name in rest:
            p = self.plan.parameters[name]
            self.weights[name] = measure.moments(p)
            if held is None or id(p) in held:
                self.before[name] = p.detach().clone()
            if held is not None:
                self._gradient(name, p.grad)
        if held is not None:
            for name in self.plan.matrices:
                p = self.plan.parameters[name]
                if name not in self.apart and (g := _dense(p.grad)) is not None:
                    self._compare(name, p, g)

    def _gradient(self, name, g):
        if _dense(g) is not None:
            self.gradients[name] = measure.moments(g)

    def _compare(self, name, p, gradient):
        if name not in self.apart:
            self.alike[name] = measure.twins(self._copy(name, p), gradient.detach())

    def _copy(self, name, p):
        """A parameter before its update: p itself where it was not copied."""
        copies = (look.before(name) for look in self.looks if name in look.group.places)
        found = self.before.get(name, next(copies, None))
        return p if found is None else found

    def after_update(self):
        left = [name for name in self.before if self.plan.parameters[name].requires_grad]
        for look in self.looks:
            left += look.move()
        for name in left:
            p = self.plan.parameters[name]
            self.changes[name] = measure.distance(p, self._copy(name, p))

    def close(self):
        """Let go of the model; `finish` may be called long after."""
        if not self.looks and not self.weights:  # a step that an exception ended
            groups, rest = self.plan.groups()
            for group in groups:
                self.looks.append(Look(group))
            self.weights = {n: measure.moments(self.plan.parameters[n]) for n in rest}
        self.shapes = {n: tuple(p.shape) for n, p in self.plan.parameters.items()}
        self.plan, self.layers, self.before = None, {}, {}
        for handle in self.handles:
            handle.remove()
        for call in self.calls.values():
            call.open = False
        for look in self.looks:
            look.close()

    def finish(self, step):
        """The Sample, everything on the host."""
        for look in self.looks:
            for name, weight, gradient in look.rows():
                self.weights[name] = weight
                if gradient is not None:
                    self.gradients[name] = gradient
            self.changes |= look.norms
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


def _dense(gradient):
    """The gradient, None for a sparse one."""
    return gradient if gradient is not None and gradient.layout == torch.strided else None
