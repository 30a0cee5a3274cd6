"""The special functions in NumPy against scipy's."""

import numpy as np
from scipy import special as scipy_special
from scipy import stats

from bpx import random as R
from bpx import special


def test_special_functions():
    x = np.random.default_rng(0).normal(size=500)
    p = np.concatenate([scipy_special.ndtr(x), 10.0 ** -np.arange(1, 300, 7.0), [0.5, 0.925]])
    np.testing.assert_allclose(special.ndtri(p), scipy_special.ndtri(p), rtol=8 * 2.0**-52)
    y = np.concatenate([scipy_special.erf(x), 1 - 10.0 ** -np.arange(1, 16.0), [1e-300]])
    assert np.abs(special.erfinv(y) / scipy_special.erfinv(y) - 1).max() < 8 * 2.0**-52
    # its condition number is about x^2 in the tail
    error = np.abs(special.ndtr(x) / scipy_special.ndtr(x) - 1)
    assert (error < 2 * (1 + x**2) * 2.0**-52).all()
    assert np.abs(special.erf(x) - scipy_special.erf(x)).max() < 2 * 2.0**-52
    assert np.isnan(special.ndtri([-0.1, 1.1, np.nan])).all()
    assert (special.ndtri([0.0, 1.0]) == [-np.inf, np.inf]).all()
    assert (special.erfinv([-1.0, 0.0, 1.0]) == [-np.inf, 0.0, np.inf]).all()
    slope = special.erf(x + 1e-30j).imag / 1e-30
    assert np.abs(slope - 2 * stats.norm(0, 0.5**0.5).pdf(x)).max() < 8 * 2.0**-52


def test_normal_reaches_every_polynomial():
    """A tail of 1e-8 is rare; the last float64 piece begins at |u| = 1 - 1e-7."""
    u = np.concatenate([1 - 10.0 ** -np.arange(1, 15.0), [0.3]])
    u = np.concatenate([u, -u])
    got = u * R._erfinv_over_u(u, R._giles.FLOAT64)
    assert np.abs(got / scipy_special.erfinv(u) - 1)[np.abs(u) < 1 - 1e-6].max() < 1e-10
    assert np.abs(got / scipy_special.erfinv(u) - 1).max() < 1e-3
