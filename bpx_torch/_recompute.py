"""What `fixed_point` and the reversible blocks share: evaluating a user's function again in
backward, as it was evaluated in forward, and saying which tensors it may use."""

import contextlib

import torch

from bpx.spec import SpecError


def eager(entry):
    """Raise where a transform of torch.func is at work, which would not see the user's function."""
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(
            f"{entry}: torch.func is not available for it; use torch.autograd.grad"
        )


def parameters(*functions):
    """The parameters that modules among the functions ask gradients for, each once."""
    found = {}
    for f in functions:
        if isinstance(f, torch.nn.Module):
            found.update({id(p): p for p in f.parameters() if p.requires_grad})
    return tuple(found.values())


def leaf(a):
    """The same values with a history of their own."""
    if not isinstance(a, torch.Tensor):
        return a
    return a.detach().requires_grad_(a.is_floating_point() or a.is_complex())


def no_strangers(entry, y, known):
    """Raise when y was computed from a leaf that is not known: its gradient would be lost."""
    known, seen, todo = {id(a) for a in known}, set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in known:
            raise SpecError(
                f"{entry}: the function uses a tensor of shape {tuple(variable.shape)} that asks "
                "for a gradient, expected it as an argument or a parameter of a torch.nn.Module"
            )
        todo.extend(next_node for next_node, _ in node.next_functions)


class State:
    """Autocast, and the random numbers of every device in use, as they stand when it is made."""

    def __init__(self, device, preserve_rng_state):
        types = {device.type, "cpu"}
        self.casts = [
            (t, torch.is_autocast_enabled(t), torch.get_autocast_dtype(t))
            for t in sorted(types)
            if torch.amp.is_autocast_available(t)
        ]
        self.cache = torch.is_autocast_cache_enabled()
        self.device, self.random = device, None
        if preserve_rng_state:
            self.random = random_states(device)

    def drop_unused(self):
        """Keep the states of the generators only if they were drawn from since."""
        if self.random is not None:
            now = random_states(self.device)
            if all(torch.equal(a, b) for a, b in zip(self.random, now, strict=True)):
                self.random = None

    @contextlib.contextmanager
    def again(self):
        """As it stood then, within; as it stands now, after."""
        with contextlib.ExitStack() as stack:
            for t, enabled, dtype in self.casts:
                cast = torch.autocast(t, dtype=dtype, enabled=enabled, cache_enabled=self.cache)
                stack.enter_context(cast)
            if self.random is not None:
                now = random_states(self.device)
                stack.callback(set_random_states, self.device, now)
                set_random_states(self.device, self.random)
            yield


def random_states(device):
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def set_random_states(device, states):
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)
