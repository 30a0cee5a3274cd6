"""Loss, gradient and Hessian of the comparison in JAX. In PyTorch: bpx_torch/compare.py; what is
done with them: bpx/demo/compare.py."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from bpx_jax import RULES
from bpx_jax.demo import prepare


class Problem:
    """A network of linear layers and tanh, of one flat vector of weights; NumPy in and out."""

    name = "jax"
    version = jax.__version__

    def __init__(self, sizes, penalty, x, y):
        prepare("float64")
        self.sizes, self.penalty = sizes, penalty
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        self._value = jax.jit(lambda w: self._loss(w, self.x, self.y))
        self._full = jax.jit(jax.value_and_grad(lambda w: self._loss(w, self.x, self.y)))
        self._part = jax.jit(
            jax.value_and_grad(lambda w, rows: self._loss(w, self.x[rows], self.y[rows]))
        )
        self._second = jax.jit(jax.hessian(lambda w: self._loss(w, self.x, self.y)))
        self._scores = jax.jit(self._logits)

    def _logits(self, w, x):
        at = 0
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            weight = w[at : at + fan_out * fan_in].reshape(fan_out, fan_in)
            at += fan_out * fan_in
            x = RULES["linear"](RULES["tanh"](x) if i else x, weight, w[at : at + fan_out])
            at += fan_out
        return x

    def _loss(self, w, x, y):
        fit = RULES["cross_entropy"](self._logits(w, x), y, None)
        return fit + self.penalty / 2 * jnp.dot(w, w)

    def logits(self, w, x):
        return np.asarray(self._scores(w, x))

    def loss(self, w):
        return float(self._value(w))

    def loss_and_grad(self, w, rows):
        """Of the images of `rows`, or of all."""
        loss, grad = self._full(w) if rows is None else self._part(w, rows)
        return float(loss), np.asarray(grad)

    def hessian(self, w):
        return np.asarray(self._second(w))
