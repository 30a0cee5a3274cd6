"""Planted bugs in small JAX rules, each beside its correct twin."""

from bpx.verify.zoo import Plant, StepPlant
from bpx_jax.zoo import arithmetic, edges, optimizers, scaling


def _row(plant: Plant | StepPlant) -> int:
    return plant.row


PLANTS: tuple[Plant | StepPlant, ...] = tuple(
    sorted(
        (*arithmetic.PLANTS, *edges.PLANTS, *scaling.PLANTS, *optimizers.PLANTS),
        key=_row,
    )
)
