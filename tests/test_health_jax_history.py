"""bpx_jax.health.History lets steps run ahead: what is not computed yet is read later."""

from dataclasses import replace

import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx.spec import SpecError
from bpx_jax import _health_history, health

X = jnp.arange(1.0, 4.0)


class Coming:
    """A flag of a step that is still being computed; to read it is to wait."""

    def __init__(self, value):
        self.value, self.there, self.read = value, False, 0

    def is_ready(self):
        return self.there

    def __bool__(self):
        self.read += 1
        return self.value


def seen(flag):
    (_, _), found = health.value_and_grad(lambda x: (x * x).sum())(X, sample=True)
    return replace(found, flag=flag)


def test_add_does_not_wait_and_samples_do():
    history, flags = health.History(), [Coming(True), Coming(False), Coming(True)]
    for step, flag in enumerate(flags):
        history.add(step, seen(flag))
    assert [f.read for f in flags] == [0, 0, 0]
    flags[0].there = True
    history.add(3, seen(Coming(True)))
    assert [f.read for f in flags] == [1, 0, 0]
    assert [s.step for s in history.samples] == [0, 2, 3]
    assert history.report().samples[-1].step == 3


def test_no_more_than_a_hundred_steps_are_waited_for(monkeypatch):
    monkeypatch.setattr(_health_history, "AHEAD", 2)
    history, flags = health.History(), [Coming(False) for _ in range(4)]
    for step, flag in enumerate(flags):
        history.add(step, seen(flag))
    assert [f.read for f in flags] == [1, 1, 0, 0]


def test_steps_come_in_order_computed_or_not():
    history = health.History()
    history.add(4, seen(Coming(False)))
    with pytest.raises(SpecError, match="step is 4, expected more than 4, the step before it"):
        history.add(4, seen(Coming(True)))
    assert not history.samples
    with pytest.raises(SpecError, match="step is 3, expected more than 4, the step before it"):
        history.add(3, seen(jnp.asarray(True)))
