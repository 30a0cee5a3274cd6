"""Models and optimizers between PyTorch and JAX, as NumPy arrays under torch's names.

A `Weights` is a model's arrays with its structure, an `OptimizerState` the state of its optimizer;
`bpx_torch.interchange` and `bpx_jax.interchange` make them and write them back, and `save` and
`load` keep them in a file. docs/carrying-over.md shows a run that moves.
"""

from bpx.convert.methods import METHODS, REFUSED, Recipe
from bpx.convert.optimizers import Group, OptimizerState
from bpx.convert.run import Run, load, save
from bpx.convert.structure import Form, Layer, Structure, Weights
from bpx.convert.weights import LAYOUTS, compare, from_layout, to_layout

__all__ = [
    "LAYOUTS",
    "METHODS",
    "REFUSED",
    "Form",
    "Group",
    "Layer",
    "OptimizerState",
    "Recipe",
    "Run",
    "Structure",
    "Weights",
    "compare",
    "from_layout",
    "load",
    "save",
    "to_layout",
]
