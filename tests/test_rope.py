"""What rotary tables are for: scores that know the distance of two positions and nothing else."""

import numpy as np
import pytest

from bpx.layers.rope import forward, tables
from bpx.spec import SpecError


@pytest.mark.parametrize("interleaved", [False, True])
def test_scores_depend_on_the_distance_alone(interleaved):
    rng = np.random.default_rng(3)
    q, k = (np.tile(rng.standard_normal(6), (9, 1)) for _ in range(2))
    cos, sin = tables(9, 6, base=50.0)
    q, k = (forward(a, cos, sin, interleaved=interleaved)[0] for a in (q, k))
    scores = q @ k.T
    for distance in range(-8, 9):
        along = np.diagonal(scores, distance)
        np.testing.assert_allclose(along, along[0], rtol=1e-12)
    assert abs(scores[0, 1] - scores[1, 0]) > 1e-3
    assert abs(scores[0, 1] - scores[0, 2]) > 1e-3


def test_tables():
    cos, sin = tables(4, 6)
    for t in range(4):
        for p in range(3):
            angle = t / 10000 ** (2 * p / 6)
            assert abs(cos[t, p] - np.cos(angle)) < 1e-15
            assert abs(sin[t, p] - np.sin(angle)) < 1e-15
    with pytest.raises(SpecError, match="rope: size is 5, expected an even number at least 0"):
        tables(4, 5)
