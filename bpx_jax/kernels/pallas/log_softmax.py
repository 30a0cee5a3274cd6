"""log_softmax for JAX in Pallas: softmax's kernels, which take the logarithm. Maths, shapes and
source: bpx/layers/log_softmax.py."""

from functools import partial

from bpx_jax.kernels.pallas import softmax

refuses = softmax.refuses
forward = partial(softmax.forward, logarithm=True)
backward = partial(softmax.backward, logarithm=True)
