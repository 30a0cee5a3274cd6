"""What specification and rules share beside forward and backward, without a framework."""

import itertools

import numpy as np
import pytest

from bpx.layers import _attention

WINDOWS = [None, (0, 0), (1, None), (None, 2), (2, 1)]


@pytest.mark.parametrize(("causal", "window"), [*itertools.product([False, True], WINDOWS)])
@pytest.mark.parametrize(("queries", "keys"), [(7, 5), (4, 9), (1, 6), (0, 3), (3, 0)])
def test_blocks_hold_what_is_seen(queries, keys, causal, window):
    """Each pair that causal and window leave is in one block; whole blocks have no other."""
    offset = np.arange(keys) - np.arange(queries)[:, None]
    left, right = window or (None, None)
    seen = np.ones(offset.shape, bool)
    seen &= offset >= (-keys - queries if left is None else -left)
    seen &= offset <= (keys + queries if right is None else right)
    if causal:
        seen &= offset <= 0
    held = np.zeros(offset.shape, int)
    for row, line in enumerate(_attention.pairs(queries, keys, (3, 2), causal, window)):
        for b in line:
            assert (b.row, b.i0, b.j0) == (row, 3 * row, 2 * b.column)
            part = seen[b.i0 : b.i1, b.j0 : b.j1]
            held[b.i0 : b.i1, b.j0 : b.j1] += 1
            assert part.any()
            assert part.all() == b.whole
    assert (held[seen] == 1).all()
    assert (held <= 1).all()
