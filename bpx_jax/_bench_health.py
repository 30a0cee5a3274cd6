"""Ten training steps of an MLP under bpx_jax.health, the sixth of them sampled, and without."""

from functools import partial
from itertools import count

import jax
import jax.numpy as jnp

from bpx._bench_health import CLASSES, LEARNING_RATE, layers
from bpx._timing import Candidate, Prepared
from bpx_jax import health
from bpx_jax.optim import adamw


def prepare(dims, dtype, seed) -> Prepared:
    """The default is what bpx adds to; both are JAX's own operations."""
    sizes = layers(dims)
    keys = jax.random.split(jax.random.key(seed), len(sizes) + 2)
    params = [
        {"w": jax.random.normal(k, s, dtype) / s[0] ** 0.5, "b": jnp.zeros(s[1], dtype)}
        for k, s in zip(keys, sizes, strict=False)
    ]
    x = jax.random.normal(keys[-1], (dims["batch"], sizes[0][0]), dtype)
    y = jax.random.randint(keys[-2], (dims["batch"],), 0, CLASSES)
    made = {"own": _plain, "bpx": _watched}
    return Prepared({k: Candidate(make(params, x, y)) for k, make in made.items()}, "bpx")


def _loss(tag, params, x, y):
    for i, layer in enumerate(params[:-1]):
        x = tag(jax.nn.relu(x @ layer["w"] + layer["b"][None]), f"hidden {i}", "relu")
    z = tag(x @ params[-1]["w"] + params[-1]["b"][None], "out", "linear")
    return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()


def _plain(params, x, y):
    optimizer = adamw(LEARNING_RATE)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(partial(_loss, lambda x, *_: x))(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state, value

    carried = [params, optimizer.init(params)]

    def run():
        for _ in range(10):
            *carried[:], value = step(*carried)
        jax.block_until_ready(value)

    return run


def _watched(params, x, y):
    optimizer, history = adamw(LEARNING_RATE), health.History()
    numbers = count(5)  # step 10 is sampled, in the middle of the first ten
    grads_of = health.value_and_grad(partial(_loss, health.tag))

    @partial(jax.jit, static_argnames="sample")
    def step(params, state, sample):
        (value, grads), seen = grads_of(params, x, y, sample=sample)
        updates, state = optimizer.update(grads, state, params)
        seen = health.with_updates(seen, updates)
        return jax.tree.map(jnp.add, params, updates), state, value, seen

    carried = [params, optimizer.init(params)]

    def run():
        for _ in range(10):
            i = next(numbers)
            *carried[:], value, seen = step(*carried, sample=i % 10 == 0)
            history.add(i, seen)
        jax.block_until_ready(value)

    return run
