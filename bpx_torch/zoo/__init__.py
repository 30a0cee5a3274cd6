"""Planted bugs in small PyTorch rules, each beside its correct twin."""

from bpx_torch.zoo import edges, engine, formulas, layouts, scaling, shapes

PLANTS = tuple(
    sorted(
        (
            *shapes.PLANTS,
            *layouts.PLANTS,
            *scaling.PLANTS,
            *formulas.PLANTS,
            *edges.PLANTS,
            *engine.PLANTS,
        ),
        key=lambda plant: plant.row,
    )
)
