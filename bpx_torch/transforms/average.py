"""Averages of the weights for PyTorch. Maths, options and source: bpx/transforms/average.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bpx.transforms.average import EMA, LOOKAHEAD, SWA
from bpx_torch._wrapper import Wrapper, wide


class Averaging(Wrapper):
    """An optimizer that keeps an average of its weights, in float32 at least."""

    def average(self, p: Tensor) -> Tensor:
        """The average of a parameter, a new tensor of its dtype; the parameter before there is."""
        raise NotImplementedError

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages in the place of the weights, for an evaluation, and back."""
        held = [(p, p.detach().clone()) for p in self._every()]
        with torch.no_grad():
            for p, _ in held:
                p.copy_(self.average(p))
        try:
            yield
        finally:
            with torch.no_grad():
                for p, before in held:
                    p.copy_(before)


class WeightEMA(Averaging):
    """Any optimizer, with an exponential moving average of the weights after each step.

    >>> w = torch.nn.Parameter(torch.tensor([4.0]))
    >>> opt = WeightEMA(torch.optim.SGD([w], lr=1.0), decay=0.5)
    >>> for _ in range(2):
    ...     w.grad = torch.tensor([1.0])
    ...     opt.step()
    >>> with opt.averaged():
    ...     w.detach().clone()
    tensor([2.5000])

    Raises:
        SpecError: decay is not in [0, 1], or is 1 with debias.
    """

    SPEC = EMA

    def __init__(
        self, optimizer: torch.optim.Optimizer, decay: float = 0.999, *, debias: bool = False
    ) -> None:
        super().__init__(optimizer, decay=decay, debias=debias)
        self._counts, self._arrays = {"n": 0}, {"mean": {}}

    def step(self, closure: Any = None) -> Any:
        """The optimizer's step, then the average's."""
        loss = self.optimizer.step(closure)
        self._counts["n"] += 1
        means, rate = self._arrays["mean"], 1 - self.options["decay"]
        with torch.no_grad():
            for p in self._every():
                if p not in means:  # in a later step (a group was added) as if p had stood still
                    share = 1 - self.options["decay"] ** self._counts["n"]
                    means[p] = wide(p) * share if self.options["debias"] else wide(p)
                else:
                    means[p].lerp_(p.to(means[p].dtype), rate)
        return loss

    def average(self, p: Tensor) -> Tensor:
        """The average of a parameter, a new tensor of its dtype; the parameter before a step."""
        if p not in self._arrays["mean"]:
            return p.detach().clone()
        mean = self._arrays["mean"][p]
        if self.options["debias"]:
            mean = mean / (1 - self.options["decay"] ** self._counts["n"])
        return mean.to(p.dtype, copy=True)


class WeightSWA(Averaging):
    """Any optimizer, with the mean of the weights after every `every`-th step beyond `start`.

    A parameter of a group that is added later counts as if it had stood still before.

    Raises:
        SpecError: start is no integer of at least 0, or every of at least 1.
    """

    SPEC = SWA

    def __init__(self, optimizer: torch.optim.Optimizer, start: int = 0, every: int = 1) -> None:
        super().__init__(optimizer, start=start, every=every)
        self._counts, self._arrays = {"t": 0, "n": 0}, {"mean": {}}

    def step(self, closure: Any = None) -> Any:
        """The optimizer's step, then the average's where it is due."""
        loss = self.optimizer.step(closure)
        beyond = self._counts["t"] - self.options["start"]
        self._counts["t"] += 1
        if beyond < 0 or beyond % self.options["every"]:
            return loss
        self._counts["n"] += 1
        means = self._arrays["mean"]
        with torch.no_grad():
            for p in self._every():
                if p not in means:
                    means[p] = wide(p)
                else:
                    means[p].lerp_(p.to(means[p].dtype), 1 / self._counts["n"])
        return loss

    def average(self, p: Tensor) -> Tensor:
        """The mean of a parameter, a new tensor of its dtype; the parameter before `start`."""
        return self._arrays["mean"].get(p, p).detach().to(p.dtype, copy=True)


class Lookahead(Wrapper):
    """Any optimizer with a step back to slow weights every k steps.

    The slow weights begin as the weights before the first step and are float32 at least.

    Raises:
        SpecError: k is no integer of at least 1, or alpha is not in [0, 1].
    """

    SPEC = LOOKAHEAD

    def __init__(self, optimizer: torch.optim.Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        super().__init__(optimizer, k=k, alpha=alpha)
        self._counts, self._arrays = {"n": 0}, {"slow": {}}

    def step(self, closure: Any = None) -> Any:
        """The optimizer's step; in every k-th, then the slow weights' and back to them."""
        slow = self._arrays["slow"]
        for p in self._every():
            if p not in slow:
                slow[p] = wide(p)
        loss = self.optimizer.step(closure)
        self._counts["n"] += 1
        if self._counts["n"] >= self.options["k"]:
            self._counts["n"] = 0
            with torch.no_grad():
                for p in self._every():
                    slow[p].lerp_(p.to(slow[p].dtype), self.options["alpha"])
                    p.copy_(slow[p])
        return loss


def _check_decay(decay: float) -> None:
    if EMA.check is not None:
        EMA.check({**EMA.options, "decay": decay})


def weight_ema_avg_fn(decay: float = 0.999) -> Callable[..., Tensor]:
    """Replaces torch.optim.swa_utils.get_ema_avg_fn.

    Raises:
        SpecError: decay is not in [0, 1].
    """
    _check_decay(decay)

    @torch.no_grad()
    def weight_ema(mean: Tensor, p: Tensor, n: Any) -> Tensor:
        return mean * decay + p * (1 - decay)

    return weight_ema


def weight_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """Replaces torch.optim.swa_utils.get_ema_multi_avg_fn.

    Raises:
        SpecError: decay is not in [0, 1].
    """
    average = weight_ema_avg_fn(decay)

    @torch.no_grad()
    def weight_ema(means: Any, ps: Any, n: Any) -> None:
        for mean, p in zip(means, ps, strict=True):
            mean.copy_(average(mean, p, n))

    return weight_ema


def weight_swa_avg_fn() -> Callable[..., Tensor]:
    """Replaces torch.optim.swa_utils.get_swa_avg_fn."""

    @torch.no_grad()
    def weight_swa(mean: Tensor, p: Tensor, n: Any) -> Tensor:
        return mean + (p - mean) / (n + 1)

    return weight_swa


def weight_swa_multi_avg_fn() -> Callable[..., None]:
    """Replaces torch.optim.swa_utils.get_swa_multi_avg_fn."""
    average = weight_swa_avg_fn()

    @torch.no_grad()
    def weight_swa(means: Any, ps: Any, n: Any) -> None:
        for mean, p in zip(means, ps, strict=True):
            mean.copy_(average(mean, p, n))

    return weight_swa
