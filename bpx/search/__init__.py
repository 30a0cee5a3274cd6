"""Search without a gradient: random search, local search, simulated annealing.

    found = Annealing(2000, temperature=5.0).run(f, {"w": w, "b": b}, key)
    found.params, found.value

f takes parameters of the structure, shapes and dtypes that were given (arrays in nested dicts,
lists and tuples) and returns a number. One key gives one trajectory: the numbers are drawn here,
for `bpx_torch.search` and `bpx_jax.search` too, which differ in what f is given alone.
"""

from bpx.search._method import Found, Method, State
from bpx.search.annealing import COOLINGS, Annealing
from bpx.search.local import LocalSearch
from bpx.search.random import RandomSearch

__all__ = ["COOLINGS", "Annealing", "Found", "LocalSearch", "Method", "RandomSearch", "State"]
