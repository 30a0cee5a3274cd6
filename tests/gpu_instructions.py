"""The approximate instructions of a GPU, for Triton's interpreter: off by as much as their manual
(PTX ISA, ex2, rcp, div and rsqrt with .approx.ftz) allows, up and down at random."""

import numpy as np

EXP2, DIVIDE, RSQRT = 2.0**-22, 2.0**-22, 2.0**-22.9
LEAST = 2.0**-126  # what is below is flushed to zero, in what goes in and what comes out


def _flushed(a):
    return np.where(np.abs(a) < LEAST, np.copysign(0, a), a)


def _off(exact, error):
    def approximate(*given):
        with np.errstate(all="ignore"):
            y = exact(*(_flushed(np.asarray(a, np.float64)) for a in given))
            up = np.random.default_rng(5).choice([-error, error], y.shape)
            return _flushed(y * (1 + up))

    return approximate


def approximate(monkeypatch):
    """Let the formulas for 16 bits have them until the test ends."""
    from bpx_torch.kernels.triton import _libdevice

    for name, exact, error in (
        ("exp2", np.exp2, EXP2),
        ("fast_dividef", np.divide, DIVIDE),
        ("rsqrt", lambda x: 1 / np.sqrt(x), RSQRT),
    ):
        monkeypatch.setattr(_libdevice, name, _libdevice._lifted(_off(exact, error)))
