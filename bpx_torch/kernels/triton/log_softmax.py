"""log_softmax for torch on a GPU: the Triton kernels of softmax. Maths, shapes and source:
bpx/layers/log_softmax.py."""

from functools import partial

from bpx_torch.kernels.triton import softmax

refuses = softmax.refuses
forward = partial(softmax.forward, logarithm=True)
backward = partial(softmax.backward, logarithm=True)
