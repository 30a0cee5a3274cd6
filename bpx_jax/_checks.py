"""Structural checks of a JAX rule: what is not arithmetic. Each raises AssertionError with what it
met, returns a reason when there was nothing to check, and None when all is well."""

import jax
import jax.numpy as jnp
import numpy as np

from bpx.rule import Kernel
from bpx.verify.legs import NOT_APPLICABLE

STEPS = (-2, -1, 1, 2)
ODD = 3.0  # the factor of a backward scaled on purpose


def _close(got, want, what, dtype):
    """Equal up to the order of a few sums."""
    limit = {"float64": 1e-13, "float32": 1e-5}[dtype]
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    scale = np.abs(want).max(initial=0.0)
    worst = np.abs(got - want).max(initial=0.0)
    assert worst <= limit * max(scale, 1e-300), f"{what}: off by {worst:.3g} of {scale:.3g}"


class Call:
    """A rule on a case, as a function of its floating arguments alone."""

    def __init__(self, runner, rule, kernel, case, dtype):
        self.rule, self.options = rule, case.options
        self.arrays = runner.arrays(case, dtype)
        self.places = runner.floats(rule, self.arrays)
        self.floats = [self.arrays[i] for i in self.places]
        self.using = lambda: runner.using(kernel)
        with self.using():
            shape = jax.eval_shape(self.f, *self.floats).shape
        dy = np.random.default_rng(11).standard_normal(shape)
        self.dy = jnp.asarray(dy, self.floats[0].dtype)

    def fill(self, values):
        full = list(self.arrays)
        for i, v in zip(self.places, values, strict=True):
            full[i] = v
        return full

    def f(self, *values):
        return self.rule(*self.fill(values), **self.options)

    def loss_of(self, rule):
        return lambda *values: (rule(*self.fill(values), **self.options) * self.dy).sum()

    def grads(self, rule=None, argnums=None, dy=None):
        with self.using():
            argnums = tuple(range(len(self.floats))) if argnums is None else argnums
            if dy is not None:
                return jax.vjp(self.f, *self.floats)[1](dy)
            return jax.grad(self.loss_of(rule or self.rule), argnums)(*self.floats)


def jitted(runner, rule, kernel, case, dtype):
    """jit of value and gradient equals eager; inputs are unchanged; two runs agree."""
    call = Call(runner, rule, kernel, case, dtype)
    before = [np.array(a) for a in (*call.floats, call.dy)]
    want = call.grads()
    with call.using():
        compiled = jax.jit(jax.grad(call.loss_of(rule), tuple(range(len(call.floats)))))
        for g, w in zip(compiled(*call.floats), want, strict=True):
            _close(g, w, "under jit", dtype)
    for g, w in zip(call.grads(), want, strict=True):
        assert np.array_equal(g, w), "two backward passes differ"
    for a, b in zip((*call.floats, call.dy), before, strict=True):
        assert np.array_equal(a, b), "an input or the incoming gradient was written to"


def linearity(runner, rule, kernel, case, dtype):
    """backward(-1000 dy) = -1000 backward(dy); zero and constant incoming gradients."""
    call = Call(runner, rule, kernel, case, dtype)
    for g in call.grads(dy=jnp.zeros_like(call.dy)):
        assert not np.any(g), "a zero incoming gradient gives a gradient"
    if not rule.spec.linear:
        return "the backward is not linear in dy on purpose"
    for g, w in zip(call.grads(dy=-1000 * call.dy), call.grads(), strict=True):
        _close(g, -1000 * w, "gradient at -1000 dy", dtype)
    return None


def raw_return(runner, rule, kernel, case, dtype):
    """Shapes and dtypes of what backward gives: JAX would take any dtype without a word."""
    for low in (dtype, "bfloat16"):
        if runner.refusal(rule, kernel, case, low):
            continue
        call = Call(runner, rule, kernel, case, low)
        names = [spec.name in rule.spec.saves for spec in rule.spec.args]

        def halves(arrays, dy, names=names, rule=rule):
            y, residuals = rule.forward(*arrays, kernel=kernel, **case.options)
            kept = tuple(a if saved else None for a, saved in zip(arrays, names, strict=True))
            needs = rule._needs(arrays)
            return y, rule.backward(dy, kept, residuals, needs, kernel=kernel, **case.options)

        with call.using():  # shapes and dtypes alone: nothing is compiled
            y, raw = jax.eval_shape(halves, call.arrays, call.dy)
            grads = jax.eval_shape(lambda dy, call=call: call.grads(dy=dy), call.dy)
        assert len(raw) == len(call.arrays), f"{len(raw)} gradients, expected {len(call.arrays)}"
        for i in call.places:
            name = rule.spec.args[i].name
            assert raw[i] is not None, f"d{name} is None"
            shape = call.arrays[i].shape
            assert raw[i].shape == shape, f"d{name} has shape {raw[i].shape}, expected {shape}"
        assert y.dtype == call.floats[0].dtype, f"y has dtype {y.dtype}"
        for a, g in zip(call.floats, grads, strict=True):
            assert g.dtype == a.dtype, f"a gradient has dtype {g.dtype}, expected {a.dtype}"


def saved_bytes(f, arrays, given=()):
    """(all, new) bytes that jax.vjp keeps for f: `new` leaves out arguments, those in `given` that
    f is closed over, and the output. Of the trace: nothing is computed."""

    def both(*arrays):
        y, vjp = jax.vjp(f, *arrays)
        return y, [a for a in jax.tree.leaves(vjp) if isinstance(a, jax.Array)]

    traced = jax.make_jaxpr(both)(*arrays)
    y, *leaves = traced.jaxpr.outvars
    values = zip(traced.jaxpr.constvars, traced.consts, strict=True)
    own = (y, *traced.jaxpr.invars, *(v for v, c in values if any(c is g for g in given)))
    own = {id(v) for v in own}
    kept = {id(v): v.aval.size * v.aval.dtype.itemsize for v in leaves}
    return sum(kept.values()), sum(n for v, n in kept.items() if v not in own)


def saved(runner, rule, kernel, case, dtype):
    """No more bytes kept for backward, all and new, than autodiff of the same forward keeps. Of a
    surrogate: no more in all than autodiff of the framework's own expression with that gradient."""
    call = Call(runner, rule, kernel, case, dtype)
    other = runner.oracles[rule.spec.name] if rule.spec.surrogate else rule.plain_value
    with call.using():
        ours = saved_bytes(call.f, call.floats, call.arrays)
    plain = lambda *v: other(*call.fill(v), **call.options)  # noqa: E731
    theirs = saved_bytes(plain, call.floats, call.arrays)
    for own, auto in list(zip(ours, theirs, strict=True))[: 1 if rule.spec.surrogate else 2]:
        assert own <= auto, f"keeps {own} bytes, autodiff {auto}"


def second_derivative(runner, rule, kernel, case, dtype):
    """The derivative of backward, in the arguments and in dy, against finite differences of it."""
    if dtype != "float64":
        return "the kernel has no float64"
    call = Call(runner, rule, kernel, case, dtype)
    normal, h = np.random.default_rng(12).standard_normal, 1e-5
    at = (*call.floats, call.dy)
    weights = [normal(a.shape) for a in call.floats]

    def weighed(*at):
        grads = jax.vjp(call.f, *at[:-1])[1](at[-1])
        return sum((g * w).sum() for g, w in zip(grads, weights, strict=True))

    with call.using():  # one compilation serves the differences too
        both = jax.jit(jax.value_and_grad(weighed, tuple(range(len(at)))))
        value, grads = both(*at)
        for _ in range(2):
            way = [normal(a.shape) for a in at]
            f = {k: both(*(a + k * h * t for a, t in zip(at, way, strict=True)))[0] for k in STEPS}
            want = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
            terms = [np.sum(np.asarray(g) * t) for g, t in zip(grads, way, strict=True)]
            off, scale = abs(sum(terms) - want), abs(value) + sum(map(abs, terms))
            assert off <= 1e-7 * scale, f"derivative of backward is off by {off:.3g} of {scale:.3g}"
    return None


def hessian(runner, rule, kernel, case, dtype):
    """The Hessian by forward over reverse equals that by reverse over reverse."""
    if dtype != "float64" or rule.spec.surrogate:
        return NOT_APPLICABLE
    call = Call(runner, rule, kernel, case, dtype)
    with call.using():
        g = jax.grad(lambda v: jnp.sin(call.loss_of(rule)(v, *call.floats[1:])))
        both = jax.jit(lambda v: (jax.jacfwd(g)(v), jax.jacrev(g)(v)))
        _close(*both(call.floats[0]), "hessian", dtype)
    return None


def odd(rule):
    """The rule with its backward scaled on purpose: whoever returns another gradient did not run
    it."""
    plain = rule.plain

    def backward(*args, **options):
        return tuple(None if g is None else ODD * g for g in plain.backward(*args, **options))

    return rule.with_plain(Kernel("plain", plain.forward, backward))


def forward_mode(runner, rule, kernel, case, dtype):
    """A bare jvp raises and names the way out."""
    call = Call(runner, rule, kernel, case, dtype)
    message = ""
    with call.using():
        try:
            jax.jvp(call.f, tuple(call.floats), tuple(call.floats))
        except TypeError as error:
            message = str(error)
    assert message, "forward mode gave an answer"
    assert rule.spec.name in message, f"the error does not name the rule: {message}"
    way_out = "jax.jacrev of jax.grad" if rule.spec.surrogate else "jax.jvp of jax.grad"
    assert way_out in message, f"the error names no way out: {message}"


def lowered(runner, rule, kernel, case, dtype):
    """The forced kernel is in the lowered program, in forward and in backward."""
    if kernel == "plain":
        return NOT_APPLICABLE
    if kernel == "pallas" and runner.device.platform == "cpu":
        return "the interpreter leaves no custom call"
    call = Call(runner, rule, kernel, case, dtype)
    with call.using():
        both = jax.value_and_grad(call.loss_of(rule))  # a forward whose y nobody wants is dropped
        text = jax.jit(both).lower(*call.floats).as_text()
    assert text.count("custom_call") >= 2, "the kernel is not in the lowered program"
    return None


from bpx_jax._subsets import needs  # noqa: E402
from bpx_jax._transforms import TRANSFORMS  # noqa: E402  (they use what stands above)

CHECKS = {
    "needs": needs,
    "jit": jitted,
    "linear in dy": linearity,
    "raw return": raw_return,
    "saved bytes": saved,
    "second derivative": second_derivative,
    "hessian": hessian,
    "forward mode": forward_mode,
    "lowered": lowered,
    **TRANSFORMS,
}
