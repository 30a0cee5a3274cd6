"""What bpx_torch.health looks at in a model, found once as long as the model stays the same."""

from operator import is_

from bpx_torch import _health_measure as measure
from bpx_torch._health_parameters import grouped


class Plan:
    """layers: module -> (name, kind, measure.channels_first); parameters: name -> parameter;
    matrices: the names of those with units to compare, once `groups` was called."""

    def __init__(self, model):
        self.parameters, self.layers = dict(model.named_parameters()), {}
        for name, module in model.named_modules():
            cls = type(module).__name__
            leaf = not any(child is not None for child in module._modules.values())
            if (leaf or measure.owns(module)) and not cls.startswith(measure.SILENT):
                found = measure.kind(module), measure.channels_first(module)
                self.layers[module] = (name or cls, *found)
                module.register_forward_hook(print).remove()  # raises where hooks do not run
        self._groups, self._rest, self.matrices = None, (), ()
        self._modules = [*model.modules()]
        self._parts = self._look()

    def same(self):
        """Whether the model has the very modules, of the same classes, and parameters by the same
        names that were found."""
        parts = self._look()
        return len(parts) == len(self._parts) and all(map(is_, parts, self._parts))

    def groups(self, held=None):
        """_health_parameters.grouped of the parameters as they are now."""
        if self._groups is None or not all(group.same(held) for group in self._groups):
            self._groups, self._rest = grouped(self.parameters, held)
            self.matrices = [name for name, p in self.parameters.items() if p.dim() > 1]
        return self._groups, self._rest

    def _look(self):
        parts = []
        for module in self._modules:
            parts.append(type(module))
            if held := module._modules:
                parts += held.keys()
                parts += held.values()
            if held := module._parameters:
                parts += held.keys()
                parts += held.values()
        return parts
