"""What torch's own checker says of a planted bug, with its defaults, at one generic point."""

from __future__ import annotations

import warnings

import torch

from bpx.verify.candidate.points import Points
from bpx.verify.zoo import Plant
from bpx_torch.candidate.host import HOST


def gradcheck(plant: Plant) -> bool:
    """Whether torch.autograd.gradcheck fails, or the rule does in it."""
    how = plant.how
    points = Points(plant.args, how.get("options", {}), how.get("sizes", {}))
    point = points.generic(0)
    asked = [a.dtype.kind == "f" for a in point.arrays]
    tensors = [HOST.tensor(a, "float64", grad) for a, grad in zip(point.arrays, asked, strict=True)]
    f = HOST.callable_of(plant.wrong)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return not torch.autograd.gradcheck(
                lambda *a: f(*a, **point.options), tensors, raise_exception=False
            )
    except Exception:
        return True


OTHERS = {"torch.autograd.gradcheck": gradcheck}
