"""Planted bugs in small JAX rules, each beside its correct twin."""

from bpx_jax.zoo import arithmetic, edges, scaling

PLANTS = tuple(
    sorted(
        (*arithmetic.PLANTS, *edges.PLANTS, *scaling.PLANTS),
        key=lambda plant: plant.row,
    )
)
