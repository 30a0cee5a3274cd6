"""The runner of tests/test_rules.py for JAX."""

import functools

import jax

from bpx.verify.reference import Reference, cases
from bpx_jax.verify import JaxRunner, to_numpy


def references(runner, rule, kernel, dtype):
    return [
        Reference(rule.spec, case, runner, dtype)
        for case in cases(rule.spec)
        if not runner.refusal(rule, kernel, case, dtype)
    ]


@functools.cache
def values_of(runner, rule, kernel, dtype):
    """Case -> (y, residuals)."""
    at = [r.case for r in references(runner, rule, kernel, dtype)]

    def all_of(arrays):
        return [
            rule.forward(*a, kernel=kernel, **case.options)
            for a, case in zip(arrays, at, strict=True)
        ]

    with runner.using(kernel):
        found = jax.jit(all_of)([runner.arrays(case, dtype) for case in at])
    return {
        case.name: (to_numpy(y), tuple(map(to_numpy, residuals)))
        for case, (y, residuals) in zip(at, found, strict=True)
    }


@functools.cache
def gradients_of(runner, f, rule, kernel, dtype):
    """Case -> a gradient for each argument."""
    at = references(runner, rule, kernel, dtype)
    arrays = [runner.arrays(r.case, dtype) for r in at]
    both = [runner.pulled(f, rule, r.case, a) for r, a in zip(at, arrays, strict=True)]
    pulls, values = [pull for pull, _ in both], [values for _, values in both]
    dys = [runner.array(r.dy, dtype) for r in at]

    def all_of(values, dys):
        return [pull(*each) for pull, *each in zip(pulls, values, dys, strict=True)]

    with runner.using(kernel):
        found = jax.jit(all_of)(values, dys)
    return {
        r.case.name: runner.placed(rule, a, grads)
        for r, a, grads in zip(at, arrays, found, strict=True)
    }


class Together(JaxRunner):
    """Values, and gradients, of all cases of an entry come from one program, and the derivative of
    its plain forward serves every kernel: compiling is what costs."""

    def value(self, rule, kernel, case, dtype):
        return values_of(self, rule, kernel, dtype)[case.name]

    def gradient(self, rule, kernel, case, dy, dtype):
        return gradients_of(self, rule, rule, kernel, dtype)[case.name]

    def autodiff(self, f, rule, case, dy):
        return gradients_of(self, f, rule, "plain", "float64")[case.name]
