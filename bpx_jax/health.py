"""Gradient health of a JAX function. What is measured and how it is judged: bpx/health.

def loss(params, x, y):
    h = health.tag(jax.nn.relu(x @ params["w"]), "hidden", "relu")
    ...
grads_of = health.value_and_grad(loss)

@jax.jit
def step(params, state, x, y, i):
    (value, grads), seen = grads_of(params, x, y, sample=i % 10 == 0)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, health.with_updates(seen, updates)

history = health.History()
for i, (x, y) in enumerate(batches):
    params, state, seen = step(params, state, x, y, i)
    history.add(i, seen)
print(history.report())
"""

import functools
import re
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx import health
from bpx.health import Layer, Parameter, Sample
from bpx.health.thresholds import ENTRY
from bpx.spec import require
from bpx_jax import _health_measure as measure
from bpx_jax import _health_tags as tags
from bpx_jax._health_tags import tag

__all__ = ["History", "Statistics", "tag", "value_and_grad", "with_updates"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("sampled", "layers", "parameters"),
    meta_fields=("tags", "names", "shapes"),
)
@dataclass(frozen=True)
class Statistics:
    """What was seen of one step, a pytree of a few numbers for each layer and parameter.

    sampled     scalar, whether this step was looked at; all other numbers are zero where not
    layers      tag's name -> its sums
    parameters  one dict of numbers for each parameter: sums of weight and gradient, twins, update
    """

    sampled: Any
    layers: dict
    parameters: tuple
    tags: tuple
    names: tuple
    shapes: tuple


def value_and_grad(fun, argnums=0, has_aux=False):
    """jax.value_and_grad(fun, argnums, has_aux) that returns ((value, grads), Statistics).

    The function returned takes what fun takes, and `sample` by keyword, whether to look at this
    call. True or False decides while it is traced; a boolean that is traced itself, such as
    `step % 10 == 0`, by lax.cond: of the calls that are not looked at, nothing is computed but fun
    and its gradient. (Under vmap both sides of a cond are computed.)

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
            value, (counts, *grads) = watched(tags.zeros(found), *args, **kwargs)
            each = tuple(map(_parameter, leaves, jax.tree.leaves(grads)))
            one = Statistics(jnp.asarray(True), counts, each, *about)
            return (value, tuple(grads) if several else grads[0]), one

        def unseen():
            with tags.silent(anew):
                found_here = plain(*args, **kwargs)
            return found_here, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), empty())

        def empty():
            return jax.eval_shape(
                lambda: Statistics(
                    jnp.asarray(False),
                    tags.zeros(found),
                    tuple(_parameter(leaf, leaf) for leaf in leaves),
                    *about,
                )
            )

        if isinstance(sample, bool | np.bool_):
            return seen() if sample else unseen()
        return jax.lax.cond(sample, seen, unseen)

    return run


def with_updates(seen, updates):
    """Statistics with the size of each update, for the ratio of update to weight.

    updates  what is added to the parameters (optax's updates, or new - old), in a pytree as the
             gradients are. Raises SpecError where it has another number of arrays or other shapes.
    """
    leaves = jax.tree.leaves(updates)
    shapes = tuple(jnp.shape(leaf) for leaf in leaves)
    require(
        shapes == seen.shapes,
        f"{ENTRY}: updates have shapes {list(shapes)}, expected {list(seen.shapes)}",
    )
    nothing = jnp.zeros((), jnp.float32)

    def norms():
        return [measure.norm(jnp.asarray(leaf)) for leaf in leaves]

    def skip():
        return [nothing for _ in leaves]

    found = jax.lax.cond(seen.sampled, norms, skip)
    each = zip(seen.parameters, found, strict=True)
    return replace(seen, parameters=tuple(p | {"update": n} for p, n in each))


class History(health.History):
    """The samples of a run: `add` each step's Statistics, then `report()`."""

    def add(self, step, seen):
        """Keep the Statistics of a step, the first being step 0; those that were not sampled are
        passed over, which waits for the step to be computed. Raises SpecError for anything else,
        and for a step that does not come after the last."""
        require(
            isinstance(seen, Statistics),
            f"{ENTRY}: seen is {type(seen).__name__}, expected the Statistics of value_and_grad",
        )
        if bool(seen.sampled):
            self.append(_sample(int(step), jax.device_get(seen)))


def _sample(step, seen):
    layers = [
        _layer(name, each, seen.layers[name])
        for name, each in seen.tags
        if seen.layers[name]["activation"][0] > 0  # what the value does not depend on has no sums
    ]
    owners = sorted((layer.name for layer in layers), key=len, reverse=True)
    parameters = []
    for name, shape, each in zip(seen.names, seen.shapes, seen.parameters, strict=True):
        owner = next((o for o in owners if name == o or name.startswith(f"{o}.")), None)
        parameters.append(
            Parameter(
                name,
                name.rpartition(".")[0] if owner is None else owner,
                shape,
                measure.moments(each["weight"]),
                measure.moments(each["gradient"]),
                float(each["update"]) if "update" in each else None,
                float(each["twins"]) if "twins" in each else None,
            )
        )
    return Sample(step, tuple(layers), tuple(sorted(parameters, key=lambda p: _natural(p.name))))


def _layer(name, each, seen):
    sums = dict(zip(measure.FIELDS, seen["activation"].tolist(), strict=True))
    activation = measure.moments(seen["activation"])
    examples = round(sums["count"] / each.units) if each.units else 0
    dead = float((seen["alive"] == 0).mean()) if examples > 1 else None
    bounded = health.KINDS[each.kind] is not None and activation.count
    return Layer(
        name,
        each.kind,
        activation,
        measure.moments(seen["gradient"]),
        dead,
        sums["saturated"] / activation.count if bounded else None,
        examples,
    )


def _parameter(weight, grad):
    found = {"weight": measure.sums(weight), "gradient": measure.sums(grad)}
    alike = measure.twins(weight, grad)
    return found if alike is None else found | {"twins": alike}


def _leaves(params, several):
    """The paths, dotted, and the arrays of the parameters."""
    tree = params if several else params[0]
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = tuple(jax.tree_util.keystr(p, simple=True, separator=".") or "x" for p, _ in paths)
    return names, [jnp.asarray(leaf) for _, leaf in paths]


def _natural(name):
    """Layer 10 after layer 9: runs of digits count as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]
