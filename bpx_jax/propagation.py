"""The passes and trainings of `demo --init` in JAX. In PyTorch: bpx_torch/propagation.py; what they
are for: bpx/demo/propagation.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bpx_jax import RULES
from bpx_jax.optim import adam


@partial(jax.jit, static_argnums=0)
def _pass(activation, weights, x, g):
    def layer(h, given):
        w, probe = given
        z = RULES["linear"](h, w, None) + probe
        return RULES[activation](z), z

    def loss(probes):
        h, z = jax.lax.scan(layer, x, (weights, probes))
        return jnp.sum(h * g), z

    # a probe of 0 is added before each activation: its gradient is the one there
    return jax.grad(loss, has_aux=True)(jnp.zeros((len(weights), *x.shape), x.dtype))


def pass_through(activation, weights, x, g):
    """What every activation is given, and the gradient there; NumPy in and out."""
    gradients, given = _pass(activation, weights, x, g)
    return np.asarray(given), np.asarray(gradients)


@partial(jax.jit, static_argnums=(3, 4))
def _train(params, x, y, steps, rate):
    optimizer = adam(rate)

    def loss(params):
        hidden = RULES["linear"](x, params["hidden.weight"], params["hidden.bias"])
        hidden = RULES["sigmoid"](hidden)
        logits = RULES["linear"](hidden, params["output.weight"], params["output.bias"])
        return RULES["binary_cross_entropy_with_logits"](logits, y, None, None)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        after = jax.tree.map(jnp.add, params, updates)
        return (after, state), (value, params["hidden.weight"])

    # the step after the last is taken too, for the loss before it
    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps + 1)[1]


def train(weights, x, y, steps, rate):
    """Losses before every step and after the last, and the hidden weights at the same times."""
    losses, hidden = _train(weights, x, y, steps, rate)
    return np.asarray(losses), np.asarray(hidden)
