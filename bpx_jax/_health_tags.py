"""The tags of bpx_jax.health: an identity whose hand-written backward counts what passes it.

A tag takes a second argument, its probe, zeros that add nothing; its backward gives the sums of the
output and of the cotangent as the cotangent of the probe. So they come out of the function as a
gradient does, through jit, scan, remat and vmap, and JAX adds them up over repetitions.
"""

import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from bpx.health.kinds import KINDS
from bpx.health.thresholds import ENTRY
from bpx.spec import require
from bpx_jax import _health_vectors as vectors


@dataclass(frozen=True)
class Tag:
    """What is known of a tag without its values: `units` of a relu, for the share that is dead."""

    kind: str
    units: int


class _Open(threading.local):
    found = None  # name -> Tag, while tags are looked for
    place = None  # where the function itself is traced
    nested = False  # whether a tag was met inside of a jit, scan, vmap or grad of its own
    probes = None  # name -> probe, while they are counted
    met = None  # the names met since


_OPEN = _Open()
# A function that jit or scan has traced before would not meet its tags again: what is traced under
# one value of this context is not kept for another.
_TRACING = jax.make_user_context(None)


def _place():
    """Where the trace is, comparable; inside of a jit, scan, vmap or grad it is another place."""
    return get_opaque_trace_state()


_EAGER = _place()


def tag(x, name, kind="", axis=-1):
    """x itself; under bpx_jax.health.value_and_grad it is counted as the layer `name`.

    kind  one of bpx.health.KINDS, which says what dead and saturated mean; the loss has "loss"
    axis  the axis of x that numbers its units, for the dead share of a "relu"

    Names met several times (a loop, scan, vmap) are put together. Raises SpecError for a kind that
    is not known, an x that is not floating, an axis that x has not, and one name with two kinds or
    two numbers of units.
    """
    require(kind in KINDS, f"{ENTRY}: kind is {kind!r}, expected one of {list(KINDS)}")
    require(
        isinstance(name, str) and name != "",
        f"{ENTRY}: name is {name!r}, expected text that names the layer",
    )
    x = jnp.asarray(x)
    require(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"{ENTRY}: {name} has dtype {x.dtype}, expected a floating dtype",
    )
    units = 0
    if kind == "relu":
        require(
            -x.ndim <= axis < x.ndim,
            f"{ENTRY}: axis is {axis} for {name} of shape {x.shape}, expected an axis of it",
        )
        units = x.shape[axis]
    if _OPEN.found is not None:
        _OPEN.nested |= _place() != _OPEN.place
        known = _OPEN.found.setdefault(name, Tag(kind, units))
        require(
            known == Tag(kind, units),
            f"{ENTRY}: {name} has kind {kind!r} and {units} units, expected {known.kind!r} and "
            f"{known.units} as where it was named before",
        )
    elif _OPEN.probes is not None:
        require(
            name in _OPEN.probes,
            f"{ENTRY}: {name} was not named in the first tracing of the function, expected the "
            "same names in every one",
        )
        _OPEN.met.add(name)
        return _counted(x, _OPEN.probes[name], kind, axis)
    return x


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _counted(x, probe, kind, axis):
    return x


def _forward(x, probe, kind, axis):
    return vectors.tagged(x, kind, axis if kind == "relu" else None)


def _backward(kind, axis, seen, dy):
    dy, found = vectors.tagged(dy)
    return dy, {"activation": seen, "gradient": found}


_counted.defvjp(_forward, _backward)


def find(fun, args, kwargs):
    """(name -> Tag of a function's tags in the order that it meets them, whether to trace anew what
    has been traced before); the function is traced, not run."""
    # Outside of jit every operation would be compiled again for a context of its own: there it is
    # asked for only where a tag is met inside of another trace.
    found, traced = {}, _place() != _EAGER

    def look():
        _OPEN.place = _place()
        fun(*args, **kwargs)

    with _opened(True, found=found):
        jax.eval_shape(look)
        nested = _OPEN.nested
    return found, traced or nested


@contextmanager
def counting(probes, anew):
    """Within it tags count into these probes. Raises SpecError where one was not met again."""
    met = set()
    with _opened(anew, probes=probes, met=met):
        yield
    missing = sorted(set(probes) - met)
    require(
        not missing,
        f"{ENTRY}: {', '.join(missing)} was named in the first tracing of the function and not in "
        "the second, expected the same names in every one",
    )


@contextmanager
def silent(anew):
    """Within it a tag is the identity alone."""
    with _opened(anew):
        yield


@contextmanager
def _opened(anew, found=None, probes=None, met=None):
    before = dict(vars(_OPEN))
    vars(_OPEN).update(found=found, probes=probes, met=met, place=None, nested=False)
    try:
        with _TRACING(object()) if anew else nullcontext():
            yield
    finally:
        vars(_OPEN).clear()
        vars(_OPEN).update(before)
