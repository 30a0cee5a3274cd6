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

import math
import re
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
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

AHEAD = 100  # steps that a History lets run ahead of what it has read

__all__ = ["History", "Statistics", "tag", "value_and_grad", "with_updates"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("sampled", "numbers", "updates"),
    meta_fields=("tags", "names", "shapes", "form"),
)
@dataclass(frozen=True)
class Statistics:
    """What was seen of one step, a pytree of three arrays: one of hundreds would cost more to hand
    over than to compute.

    sampled   scalar, whether this step was looked at; the others are zero where not
    numbers   a few for each layer and parameter: `parts` tells them apart
    updates   the size of each parameter's update, from `with_updates`; None before
    """

    sampled: Any
    numbers: Any
    updates: Any
    tags: tuple
    names: tuple
    shapes: tuple
    form: tuple  # of parts: tree and shapes of the leaves

    def parts(self):
        """(tag's name -> its sums, one dict of numbers for each parameter: sums of weight and
        gradient, twins)."""
        tree, shapes = self.form
        ends = np.cumsum([math.prod(s) for s in shapes])
        pieces = np.split(np.asarray(self.numbers), ends[:-1]) if shapes else []
        return tree.unflatten([x.reshape(s) for x, s in zip(pieces, shapes, strict=True)])


def _packed(sampled, layers, parameters, *about):
    leaves, tree = jax.tree.flatten((layers, parameters))
    numbers = jnp.concatenate([jnp.ravel(x) for x in leaves]) if leaves else jnp.zeros((0,))
    form = tree, tuple(x.shape for x in leaves)
    return Statistics(jnp.asarray(sampled), numbers, None, *about, form)


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
            one = _packed(True, counts, each, *about)
            return (value, tuple(grads) if several else grads[0]), one

        def unseen():
            with tags.silent(anew):
                found_here = plain(*args, **kwargs)
            return found_here, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), empty())

        def empty():
            return jax.eval_shape(
                lambda: _packed(
                    False,
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

    def norms():
        return jnp.stack([measure.norm(jnp.asarray(leaf)) for leaf in leaves])

    def skip():
        return jnp.zeros((len(leaves),), jnp.float32)

    return replace(seen, updates=jax.lax.cond(seen.sampled, norms, skip) if leaves else skip())


class History(health.History):
    """The samples of a run: `add` each step's Statistics, then `report()`."""

    def __init__(self, keep=1000):
        super().__init__(keep)
        self._coming = deque()  # steps that may not be computed yet, with their Statistics
        self._last = -1

    def add(self, step, seen):
        """Keep the Statistics of a step, the first being step 0; those that were not sampled are
        passed over. Does not wait for the step to be computed, but where AHEAD are not. Raises
        SpecError for anything else, and for a step that does not come after the last."""
        require(
            isinstance(seen, Statistics),
            f"{ENTRY}: seen is {type(seen).__name__}, expected the Statistics of value_and_grad",
        )
        require(
            step > self._last,
            f"{ENTRY}: step is {step}, expected more than {self._last}, the step before it",
        )
        self._last = int(step)
        self._coming.append((int(step), seen))
        while self._coming and (len(self._coming) > AHEAD or _is_there(self._coming[0][1])):
            self._settle()

    @property
    def samples(self):
        while self._coming:
            self._settle()
        return super().samples

    def _settle(self):
        step, seen = self._coming.popleft()
        if bool(seen.sampled):
            self.postpone(step, partial(_sample, step, seen))  # read when asked for


def _is_there(seen):
    """Whether it can be read without waiting; what is no array of JAX's always can."""
    ready = getattr(seen.sampled, "is_ready", None)
    return ready is None or ready()


def _sample(step, seen):
    seen = jax.device_get(seen)
    sums, of_parameters = seen.parts()
    layers = [
        _layer(name, each, sums[name])
        for name, each in seen.tags
        if sums[name]["activation"][0] > 0  # what the value does not depend on has no sums
    ]
    owners = sorted((layer.name for layer in layers), key=len, reverse=True)
    parameters = []
    updates = [None] * len(seen.names) if seen.updates is None else seen.updates.tolist()
    of_each = zip(seen.names, seen.shapes, of_parameters, updates, strict=True)
    for name, shape, each, update in of_each:
        owner = next((o for o in owners if name == o or name.startswith(f"{o}.")), None)
        parameters.append(
            Parameter(
                name,
                name.rpartition(".")[0] if owner is None else owner,
                shape,
                measure.moments(each["weight"]),
                measure.moments(each["gradient"]),
                update,
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
