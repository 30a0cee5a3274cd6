"""What torch's own checkers say of a planted bug, with their defaults, at one generic point."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import torch

from bpx.verify.candidate.points import Points
from bpx.verify.zoo import Plant
from bpx_torch.candidate.host import HOST

_count = itertools.count()


def _call(plant: Plant) -> tuple[Any, list[torch.Tensor], dict[str, Any]]:
    """The wrong rule, the arguments of the generic point, and its options."""
    how = plant.how
    point = Points(plant.args, how.get("options", {}), how.get("sizes", {})).generic(0)
    asked = [a.dtype.kind == "f" for a in point.arrays]
    tensors = [HOST.tensor(a, "float64", grad) for a, grad in zip(point.arrays, asked, strict=True)]
    return HOST.callable_of(plant.wrong), tensors, dict(point.options)


def _fails(run: Callable[[], Any]) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run() is False
    except Exception:
        return True


def gradcheck(plant: Plant) -> bool:
    """Whether torch.autograd.gradcheck fails, or the rule does in it."""
    f, tensors, options = _call(plant)
    return _fails(
        lambda: torch.autograd.gradcheck(
            lambda *a: f(*a, **options), tensors, raise_exception=False
        )
    )


def opcheck(plant: Plant) -> bool:
    """Whether torch.library.opcheck fails for a custom operator whose backward is the rule's."""
    f, tensors, options = _call(plant)
    with torch.no_grad():
        outputs = f(*(t.detach().clone() for t in tensors), **options)
    many = isinstance(outputs, tuple)
    returns = ", ".join("Tensor" for _ in (outputs if many else (outputs,)))
    taken = ", ".join(f"Tensor a{i}" for i in range(len(tensors)))
    schema = f"({taken}) -> {f'({returns})' if many else returns}"

    name = f"bpx_zoo::planted_{next(_count)}"  # torch keeps schemas by name

    @torch.library.custom_op(name, mutates_args=(), schema=schema)
    def planted(*arrays: torch.Tensor) -> Any:
        out = f(*(a.detach() for a in arrays), **options)
        return tuple(o.clone() for o in out) if many else out.clone()

    def fake(*arrays: torch.Tensor) -> Any:
        # shapes alone; the sizes of the outputs follow from those of the call
        outs = [
            arrays[0].new_empty(o.shape, dtype=o.dtype) for o in (outputs if many else (outputs,))
        ]
        return tuple(outs) if many else outs[0]

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    def backward(ctx: Any, *dys: torch.Tensor) -> Any:
        with torch.enable_grad():
            leaves = [a.detach().requires_grad_(a.is_floating_point()) for a in ctx.saved_tensors]
            ys = f(*leaves, **options)
        return tuple(HOST.grads(list(ys) if many else [ys], leaves, list(dys)))

    planted.register_fake(fake)
    planted.register_autograd(backward, setup_context=keep)
    return _fails(lambda: torch.library.opcheck(planted, tuple(tensors)))


OTHERS = {"torch.autograd.gradcheck": gradcheck, "torch.library.opcheck": opcheck}
