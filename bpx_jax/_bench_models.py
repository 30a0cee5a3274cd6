"""One training step of whole networks under jit, by bpx's rules and by autodiff of JAX's own
operations."""

from functools import partial

import jax
import jax.numpy as jnp

from bpx._bench_models import demo
from bpx._timing import Candidate, Prepared
from bpx_jax import RULES
from bpx_jax._bench_gpu import peak_bytes
from bpx_jax.demo import Trainer
from bpx_jax.demo import prepare as prepare_for
from bpx_jax.optim import adamw
from bpx_jax.oracles import ORACLES, own_optimizers

LEARNING_RATE = 1e-3


def prepare(name, dtype, seed) -> Prepared:
    """Forward, backward and an AdamW step, buffers donated. The default is bpx's."""
    prepare_for(dtype)
    network, weights, settings, arrays = demo(name, dtype, seed)
    own = own_optimizers().get("adamw", adamw)
    found = {}
    for label, table, make in (("own", ORACLES, own), ("bpx", RULES, adamw)):
        trainer = Trainer(network, weights, settings)
        found[label] = _stepping(trainer, table, make(LEARNING_RATE), arrays)
    return Prepared(found, "bpx")


def _stepping(trainer, table, optimizer, arrays):
    parts = trainer.network.parts
    given = [trainer.given(part, arrays) for part in parts]

    def update(params, states):
        moved_states = []
        for part, state, inputs in zip(parts, states, given, strict=True):
            own = {k: params[k] for k in part.own}
            grads = jax.grad(partial(trainer.loss, table, part))(own, params, inputs)
            moved, state = optimizer.update(grads, state, own)
            params = {**params, **jax.tree.map(jnp.add, own, moved)}
            moved_states.append(state)
        return params, moved_states

    step = jax.jit(update, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.array, trainer.params)
    states = [optimizer.init({k: params[k] for k in part.own}) for part in parts]
    peak = peak_bytes(step.lower(params, states).compile())
    carried = [params, states]

    def run():
        carried[:] = jax.block_until_ready(step(*carried))

    return Candidate(run, peak=peak)
