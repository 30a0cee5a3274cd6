"""What JAX's own checker says of a planted bug, in reverse mode, at one generic point."""

from __future__ import annotations

import jax
from jax.test_util import check_grads

from bpx.verify.candidate.points import Points
from bpx.verify.zoo import Plant
from bpx_jax.candidate.host import HOST


def reverse(plant: Plant) -> bool:
    """Whether jax.test_util.check_grads(modes=["rev"]) of order 1 fails, or the rule does in it."""
    how = plant.how
    point = Points(plant.args, how.get("options", {}), how.get("sizes", {})).generic(0)
    arrays = [HOST.array(a, "float64") for a in point.arrays]
    places = [i for i, a in enumerate(point.arrays) if a.dtype.kind == "f"]

    def f(*values):
        full = list(arrays)
        for i, v in zip(places, values, strict=True):
            full[i] = v
        return plant.wrong(*full, **point.options)

    try:
        check_grads(jax.jit(f), [arrays[i] for i in places], 1, ["rev"])
    except Exception:
        return True
    return False


OTHERS = {'jax.test_util.check_grads(modes=["rev"])': reverse}
