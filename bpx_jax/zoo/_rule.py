"""A small custom_vjp from a forward and a backward."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np


def function(forward: Any, backward: Any, save: Any = None) -> Any:
    """f(*arrays, **options). backward(dy, *saved, **options) -> one cotangent per array; None
    stands for an integer's. `save(*arrays)` chooses what is saved, the arrays without it."""

    def call(*arrays: Any, **options: Any) -> Any:
        return _bound(forward, backward, save, tuple(options.items()))(*arrays)

    call.__name__ = getattr(forward, "__name__", "rule")
    return call


def _bound(forward: Any, backward: Any, save: Any, options: Any) -> Any:
    run = jax.custom_vjp(partial(forward, **dict(options)))

    def fwd(*arrays: Any) -> Any:
        return forward(*arrays, **dict(options)), (arrays, save(*arrays) if save else arrays)

    def bwd(kept: Any, dy: Any) -> Any:
        arrays, saved = kept
        dys = dy if isinstance(dy, tuple) else (dy,)
        grads = backward(*dys, *saved, **dict(options))
        grads = grads if isinstance(grads, tuple) else (grads,)
        return tuple(
            np.zeros(a.shape, jax.dtypes.float0) if g is None else g
            for g, a in zip(grads, arrays, strict=True)
        )

    run.defvjp(fwd, bwd)
    return run
