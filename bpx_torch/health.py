"""Gradient health of a PyTorch model. What is measured and how it is judged: bpx/health.

with bpx_torch.health.watch(model, optimizer=optimizer, every=10) as h:
    for x, y in batches:
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()
print(h.report())
"""

import sys
from functools import partial

import torch

from bpx.health import KINDS, History
from bpx.health.thresholds import ENTRY
from bpx.spec import require
from bpx_torch._health_plan import Plan
from bpx_torch._health_sample import Sampled

__all__ = ["tag", "watch"]

# Comparing the units of a matrix takes longer than all else of a small layer, and units that differ
# do not become equal from one sample to the next: such a matrix is passed over in between.
RARELY = 10

_SAMPLING: list[Sampled] = []  # the watches that are in a sampled step, the innermost last


class watch:
    """A context manager that looks at a model's layers, gradients and updates in every `every`-th
    step, the first among them.

    model      a torch.nn.Module, compiled or not. Its layers are the modules without children and
               those with parameters of their own, but for dropout, flatten and identity; of a
               module's output the first floating tensor counts. Functions called in forward are
               seen by `tag` alone
    optimizer  the torch.optim.Optimizer whose step() ends a step. Without one call `step()` after
               each. With it, gradients are seen as the optimizer meets them, clipped or unscaled
    every      steps from one sampled step to the next
    keep       samples that are kept: the first and the latest of the others

    `history` holds the samples, `report()` diagnoses them. In a sampled step every module has a
    hook, and parameters are copied once for the size of the update; in the other steps there are no
    hooks on the modules. What ran under torch.no_grad is not looked at. Forward passes of one step
    (gradient accumulation, a layer called twice) are put together. A matrix none of whose units had
    a twin is compared again ten samples later; its `twins` is None in between.

    While a step is sampled, code under torch.compile runs eagerly (the stance "force_eager"), since
    hooks inside of a compiled region do not run. Not seen: an optimizer's step that is compiled
    itself (call `step()`, outside of it), torch.func transforms, other processes' shards.

    Raises SpecError for a model, optimizer, every or keep of another kind.
    """

    def __init__(self, model, optimizer=None, every=10, keep=1000):
        require(
            isinstance(model, torch.nn.Module),
            f"{ENTRY}: model is {type(model).__name__}, expected a torch.nn.Module",
        )
        require(
            optimizer is None or isinstance(optimizer, torch.optim.Optimizer),
            f"{ENTRY}: optimizer is {type(optimizer).__name__}, expected a torch.optim.Optimizer",
        )
        require(
            isinstance(every, int) and every > 0,
            f"{ENTRY}: every is {every!r}, expected a whole number over 0",
        )
        self.model = getattr(model, "_orig_mod", model)
        self.optimizer, self.every = optimizer, every
        self.history = History(keep)
        self.steps = 0  # steps that have ended
        self._hooks, self._own, self._sample, self._plan = [], [], None, None
        self._apart, self._looks = set(), 0  # matrices without twins when they were last compared

    def __enter__(self):
        require(not self._own, f"{ENTRY}: watch is open already, expected one `with` at a time")
        if self.optimizer is not None:
            self._own = [
                self.optimizer.register_step_pre_hook(self._before_update),
                self.optimizer.register_step_post_hook(self._after_update),
            ]
        else:
            self._own = [None]
        self._begin()
        return self

    def __exit__(self, *_):
        sample = self._detach()
        if sample is not None and sample.calls:
            self._keep(sample)  # a step that an exception ended
        for hook in self._own:
            if hook is not None:
                hook.remove()
        self._own = []

    def step(self):
        """End a step; for a watch without an optimizer. Raises SpecError with one."""
        require(
            self.optimizer is None,
            f"{ENTRY}: step() was called on a watch with an optimizer, whose step() ends a step",
        )
        require(bool(self._own), f"{ENTRY}: step() was called outside of the `with` statement")
        self._end()

    def report(self, thresholds=None):
        """The bpx.health.Report. Raises SpecError before the first sampled step has ended."""
        return self.history.report(thresholds)

    def _begin(self):
        if self.steps % self.every:
            return
        if self._plan is None or not self._plan.same():
            self._plan = Plan(self.model)
        apart = self._apart if self._looks % RARELY else ()
        sample = self._sample = Sampled(self._plan, apart)
        self._looks += 1
        sample.watch()
        if self.optimizer is None:
            sample.before_update()
            for name, p in self._plan.parameters.items():
                if p.requires_grad:
                    hook = sample.accumulated(name)
                    self._hooks.append(p.register_post_accumulate_grad_hook(hook))
        _SAMPLING.append(sample)
        # importing the compiler takes seconds; where it has not been nothing is compiled
        if "torch._dynamo" in sys.modules:
            sample.stance = torch.compiler.set_stance("force_eager")

    def _before_update(self, *_):
        if self._sample is not None:
            groups = self.optimizer.param_groups
            self._sample.before_update({id(p) for group in groups for p in group["params"]})

    def _after_update(self, *_):
        if self._sample is None and (self.steps + 1) % self.every:
            self.steps += 1  # nothing ends or begins
        else:
            self._end()

    def _end(self):
        sample = self._detach()
        if sample is not None:
            sample.after_update()
            self._keep(sample)
        self.steps += 1
        self._begin()

    def _keep(self, sample):
        for name, alike in sample.alike.items():
            if alike is not None:
                (self._apart.discard if alike else self._apart.add)(name)
        sample.close()
        self.history.postpone(self.steps, partial(sample.finish, self.steps))

    def _detach(self):
        """Take all hooks off; the sample that was open, or None."""
        sample, self._sample = self._sample, None
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if sample is not None:
            sample.leave()
            _SAMPLING.remove(sample)
            if sample.stance is not None:
                sample.stance.__exit__(None, None, None)
        return sample


def tag(x, name, kind=""):
    """x itself; a watch that is open counts it as the layer `name`, of a kind of bpx.health.KINDS:
    for functions, which have no module to look at. Give the loss the kind "loss".

    Raises SpecError for a kind that is not known and an x that is no floating tensor.
    """
    if torch.compiler.is_compiling():
        return x
    require(kind in KINDS, f"{ENTRY}: kind is {kind!r}, expected one of {list(KINDS)}")
    require(
        isinstance(x, torch.Tensor) and x.is_floating_point(),
        f"{ENTRY}: {name} is {getattr(x, 'dtype', type(x).__name__)}, expected a floating tensor",
    )
    if _SAMPLING:
        _SAMPLING[-1].observe(name, kind, None, x)
    return x
