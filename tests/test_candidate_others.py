"""verify_optimizer, verify_initializer and verify_module on right and wrong candidates."""

import numpy as np
import pytest

import bpx
from bpx.verify import Float, verify_initializer, verify_module, verify_optimizer

torch = pytest.importorskip("torch")

from tests.candidate_rules import right, rule, wrong


def test_optimizers_against_the_specification_and_each_other():
    adam = {o.name: o for o in bpx.OPTIMIZERS}["adam"]
    report = verify_optimizer(lambda p: torch.optim.Adam(p, lr=1e-2), adam, framework="torch",
                              options={"lr": 1e-2}).check()  # fmt: skip
    assert report.compared > 200

    class Decayed(torch.optim.SGD):
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.add_(p.detach(), alpha=0.1)
            super().step()

    def inside(p):  # eps before the bias correction
        return torch.optim.Adam(p, lr=1e-2, eps=1e-5)

    assert verify_optimizer(inside, adam, framework="torch", options={"lr": 1e-2}).caught_by() == [
        "trajectory"
    ]
    caught = verify_optimizer(
        lambda p: Decayed(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
        framework="torch",
    ).caught_by()  # fmt: skip
    assert caught == ["purity"]


def test_initializers_against_the_specification():
    entry = {i.name: i for i in bpx.INITIALIZERS}["normal"]

    def draw(scale):
        return lambda seed, shape: scale * np.random.default_rng(seed).standard_normal(shape)

    verify_initializer(draw(1.0), entry, std=1.0).check()
    assert verify_initializer(draw(1.1), entry, std=1.0).caught_by() == ["value"]


def test_modules_by_their_parameters():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(5))
            self.rule = rule(right).apply

        def forward(self, x):
            return self.rule(x, self.weight)

    class Plain(Scale):
        def forward(self, x):
            return x * x * self.weight

    verify_module(Scale(), [Float("N", 5)], ref=Plain(), quick=True).check()
    broken = Scale()
    broken.rule = rule(wrong).apply
    assert verify_module(broken, [Float("N", 5)], ref=Plain(), quick=True).failures
