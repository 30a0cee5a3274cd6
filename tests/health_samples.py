"""Samples of bpx.health with a fault in each, and good ones."""

import numpy as np

from bpx.health import Layer, Moments, Parameter, Sample, measure

NAN = float("nan")


def of(rms, count=100, bad=0):
    return Moments(count, 0.0 if not bad else NAN, rms**2 if not bad else NAN, bad)


def layer(name, rms=1.0, grad=0.1, kind="linear", bad=0, badgrad=0, **shares):
    return Layer(name, kind, of(rms, bad=bad), of(grad, bad=badgrad), **shares)


def weight(name, norm=1.0, grad=0.1, ratio=1e-2, **more):
    change = None if ratio is None else ratio * of(norm).norm
    given = {"layer": name, "shape": (10, 10), "weight": of(norm), "gradient": of(grad)} | more
    return Parameter(f"{name}.weight", **({"update": change} | given))


def good(step=0, **changes):
    """A healthy sample of three layers, with some of it changed by name."""
    layers = {n: layer(n, kind="relu", dead=0.2, examples=64) for n in "abc"} | {
        k: v for k, v in changes.items() if isinstance(v, Layer)
    }
    weights = {f"{n}w": weight(n) for n in "abc"} | {
        k: v for k, v in changes.items() if isinstance(v, Parameter)
    }
    return Sample(step, tuple(layers.values()), tuple(weights.values()))


BAD = 3  # so many values that are not finite
VERDICTS = {
    "healthy": [good(), good(5)],
    "symmetric": [good(aw=weight("a", twins=0.95))],
    "dead": [good(b=layer("b", kind="relu", dead=0.85, examples=64))],
    "saturated": [good(b=layer("b", kind="tanh", saturated=0.6))],
    "exploding": [good(c=layer("c", rms=1100.0))],
    "vanishing": [good(a=layer("a", grad=0.9e-4))],
    "learning rate too high": [good(**{f"{n}w": weight(n, ratio=0.4) for n in "ab"})],
    "learning rate too low": [
        good(s, **{f"{n}w": weight(n, ratio=9e-7) for n in "ab"}) for s in (0, 5)
    ],
    "non-finite": [good(), good(5, b=layer("b", badgrad=BAD))],
}


def alike(got, x, rtol=1e-6):
    """Moments of an array, as NumPy finds them."""
    want = measure.moments(np.asarray(x))
    assert (got.count, got.nonfinite) == (want.count, want.nonfinite)
    near = {"rtol": rtol, "atol": rtol * want.rms}
    np.testing.assert_allclose(got.mean, want.mean, **near)
    # the square of float32's rounding of the mean, at least
    np.testing.assert_allclose(got.variance, want.variance, rtol=rtol, atol=1e-12 * want.rms**2)
