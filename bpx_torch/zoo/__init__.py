"""Planted bugs in small PyTorch rules, each beside its correct twin."""

from bpx.verify.zoo import Plant, StepPlant
from bpx_torch.zoo import edges, engine, formulas, layouts, optimizers, scaling, shapes


def _row(plant: Plant | StepPlant) -> int:
    return plant.row


PLANTS: tuple[Plant | StepPlant, ...] = tuple(
    sorted(
        (
            *shapes.PLANTS,
            *layouts.PLANTS,
            *scaling.PLANTS,
            *formulas.PLANTS,
            *edges.PLANTS,
            *engine.PLANTS,
            *optimizers.PLANTS,
        ),
        key=_row,
    )
)
