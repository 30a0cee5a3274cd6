"""log_softmax for JAX on the CPU. Maths, shapes and source: bpx/layers/log_softmax.py."""

from functools import partial

from bpx_jax.kernels.cpu import softmax

refuses = softmax.refuses
forward = partial(softmax.forward, logarithm=1)
backward = partial(softmax.backward, logarithm=1)
