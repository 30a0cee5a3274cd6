"""Gradient health of a JAX function. What is measured and how it is judged: bpx/health.

def loss(params, x, y):
    h = health.tag(jax.nn.relu(x @ params["w"]), "hidden", "relu")
    ...
grads_of = health.value_and_grad(loss)

@partial(jax.jit, static_argnames="sample")
def step(params, state, x, y, sample):
    (value, grads), seen = grads_of(params, x, y, sample=sample)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, health.with_updates(seen, updates)

history = health.History()
for i, (x, y) in enumerate(batches):
    params, state, seen = step(params, state, x, y, sample=i % 10 == 0)
    history.add(i, seen)
print(history.report())
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from bpx.health.thresholds import ENTRY
from bpx.spec import require
from bpx_jax import _health_tags as tags
from bpx_jax import _health_vectors as vectors
from bpx_jax._health_history import History, Statistics
from bpx_jax._health_tags import tag

__all__ = ["History", "Statistics", "tag", "value_and_grad", "with_updates"]


def value_and_grad(fun, argnums=0, has_aux=False):
    """jax.value_and_grad(fun, argnums, has_aux) that returns ((value, grads), Statistics).

    The function returned takes what fun takes, and `sample` by keyword, whether to look at this
    call. True or False decides while it is traced: of a call that is not looked at the Statistics
    hold no arrays, and nothing is computed but fun and its gradient. A boolean that is traced
    itself, such as `step % 10 == 0`, decides by lax.cond: then the Statistics have the same arrays
    either way, zeros where not looked at. (Under vmap both sides of a cond are computed.)

    Layers are what fun gives to `tag`, parameters the arrays of the arguments of argnums, by their
    paths. Works under jit, scan and grad's other users; fun is traced three times. Inside of fun:
    jit, scan, vmap, remat. Not inside of fun: pmap and shard_map.

    Raises SpecError where a tag is not met in every tracing.
    """
    plain = jax.value_and_grad(fun, argnums, has_aux)
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if several else (argnums,)

    shifted = tuple(n + 1 if n >= 0 else n for n in numbers)

    def run(*args, sample=True, **kwargs):
        found, anew = tags.find(fun, args, kwargs)
        params = [args[n] for n in numbers]
        names, leaves = _leaves(params, several)
        about = (tuple(found.items()), names, tuple(leaf.shape for leaf in leaves))

        def counted(probes, *args, **kwargs):
            with tags.counting(probes, anew):
                return fun(*args, **kwargs)

        def seen():
            watched = jax.value_and_grad(counted, (0, *shifted), has_aux)
            value, (counts, *grads) = watched(vectors.probes(found), *args, **kwargs)
            parts = [a for name in found for a in counts[name].values()]
            if leaves:
                parts.append(jnp.ravel(vectors.parameters(leaves, jax.tree.leaves(grads))))
            one = Statistics(None, vectors.joined(parts), None, *about)
            return (value, tuple(grads) if several else grads[0]), one

        def unseen():
            with tags.silent(anew):
                return plain(*args, **kwargs)

        def zeros():
            shapes = jax.eval_shape(lambda: seen()[1])
            return unseen(), jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

        if isinstance(sample, bool | np.bool_):
            return seen() if sample else (unseen(), Statistics(None, None, None, *about))
        found_here, one = jax.lax.cond(sample, seen, zeros)
        return found_here, replace(one, flag=jnp.asarray(sample))

    return run


def with_updates(seen, updates):
    """Statistics with the size of each update, for the ratio of update to weight.

    updates  what is added to the parameters (optax's updates, or new - old), in a pytree as the
             gradients are. Those of a call that was known not to be looked at stay as they are.
             Raises SpecError where it has another number of arrays or other shapes.
    """
    leaves = jax.tree.leaves(updates)
    shapes = tuple(jnp.shape(leaf) for leaf in leaves)
    require(
        shapes == seen.shapes,
        f"{ENTRY}: updates have shapes {list(shapes)}, expected {list(seen.shapes)}",
    )

    if seen.numbers is None:
        return seen

    def norms():
        return vectors.norms([jnp.asarray(leaf) for leaf in leaves])

    def skip():
        return jnp.zeros((len(leaves),), jnp.float32)

    if not leaves or seen.flag is None:
        return replace(seen, updates=norms() if leaves else skip())
    return replace(seen, updates=jax.lax.cond(seen.flag, norms, skip))


def _leaves(params, several):
    """The paths, dotted, and the arrays of the parameters."""
    tree = params if several else params[0]
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = tuple(jax.tree_util.keystr(p, simple=True, separator=".") or "x" for p, _ in paths)
    return names, [jnp.asarray(leaf) for _, leaf in paths]
