"""Muon for JAX, with optax's signature. Maths, options and source: bpx/optimizers/muon.py."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.muon import SPEC
from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_jax import _transform as tf
from bpx_jax._packed import WHOLE, refuse
from bpx_jax.optimizers import _orthogonal
from bpx_jax.optimizers._orthogonal import MuonDimensionNumbers
from bpx_jax.optimizers.adamw import adamw

__all__ = ["MuonDimensionNumbers", "muon"]

STANDARD = (3.4445, -4.7750, 2.0315)
PRESETS: dict[str, Any] = {
    "standard": STANDARD,
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


class MuonState(NamedTuple):
    count: Any
    mu: Any
    ns_coeffs: Any


class MaskedNode(NamedTuple):
    pass


class PartitionState(NamedTuple):
    inner_states: Any


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """An entry's options under optax's names."""
    names = {"lr": "learning_rate", "momentum": "beta", "ns_coefficients": "ns_coeffs"}
    given = {names.get(k, k): v for k, v in options.items() if k != "adjust_lr_fn"}
    matched = options["adjust_lr_fn"] == "match_rms_adamw"
    return {**given, "consistent_rms": SPEC.options["rms"] if matched else None}


@profiled("muon", _renamed, beyond=("bias_correction", "eps_added", "inputs_first"))
def muon(
    learning_rate: Any,
    ns_coeffs: Any = STANDARD,
    ns_steps: Any = 5,
    beta: Any = 0.95,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: Any = 0.9,
    adam_b2: Any = 0.999,
    adam_eps_root: Any = 0.0,
    adam_weight_decay: Any = 0.0,
    adam_learning_rate: Any = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: Any = None,
    bias_correction: bool = True,
    eps_added: bool = True,
    inputs_first: bool = True,
) -> tf.GradientTransformation:
    """As optax.contrib.muon: leaves of two dims by Muon, rows the inputs; the others by AdamW.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        ns_coeffs: three numbers, a triple for each iteration, or "standard" or "dion".
        ns_steps: how many iterations; the number of triples where these are given.
        beta: decay of the momentum, in [0, 1).
        eps: added to the norm that is divided by, and Adam's.
        weight_decay: decoupled, multiplied by the learning rate.
        weight_decay_mask: a tree of bools (or a prefix of one, or a function of the gradients that
            gives one): which leaves decay. None decays all.
        mu_dtype: dtype of the momentum, and of Adam's; None takes each parameter's.
        nesterov: look one step ahead along the momentum, Adam's too.
        adaptive: scale the step by its inner product with the momentum.
        preconditioning: "frobenius", "spectral", "aol" or "schatten".
        adam_b1, adam_b2, adam_eps_root, adam_weight_decay: of AdamW.
        adam_learning_rate: of AdamW; None takes learning_rate.
        muon_weight_dimension_numbers: a tree of MuonDimensionNumbers (or a prefix, or a function of
            the parameters that gives one); None in it marks what is left to AdamW.
        consistent_rms: scale by consistent_rms * sqrt(max(inputs, outputs)) instead of
            sqrt(max(1, outputs / inputs)).
        bias_correction: divide the momentum by 1 - beta^t.
        eps_added: add eps to the norm; False divides by the larger of the two.
        inputs_first: where no dimension numbers are given, the rows of a matrix are its inputs;
            False takes its columns, as torch does.

    The iteration runs in float32 at least (optax: in the leaf's dtype).

    Raises:
        SpecError: an option outside its limits; dimension numbers that do not fit.
    """
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in PRESETS:
            raise SpecError(f"muon: ns_coeffs is {ns_coeffs!r}, expected one of {list(PRESETS)}")
        ns_coeffs = PRESETS[ns_coeffs]
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        ns_coefficients=tf.known(ns_coeffs, STANDARD),
        ns_steps=ns_steps,
        momentum=tf.known(beta, 0.0),
        bias_correction=bias_correction,
        eps=tf.known(eps, 0.0),
        weight_decay=tf.known(weight_decay, 0.0),
        preconditioning=preconditioning,
        rms=0.2 if consistent_rms is None else tf.known(consistent_rms, 0.2),
    )
    decay = tf.Decay(SPEC.name, weight_decay, weight_decay_mask)
    others = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        b1=adam_b1,
        b2=adam_b2,
        eps=eps,
        eps_root=adam_eps_root,
        weight_decay=adam_weight_decay,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
    )

    def numbers_of(tree: Any) -> list[Any]:
        """For each leaf its dimension numbers, or None where it is AdamW's."""
        given = muon_weight_dimension_numbers
        if given is None:
            standard = MuonDimensionNumbers() if inputs_first else MuonDimensionNumbers(1, 0)
            return [standard if jnp.ndim(x) == 2 else None for x in jax.tree.leaves(tree)]
        found: list[Any] = []

        def note(numbers: Any, part: Any) -> None:
            found.extend([numbers] * len(jax.tree.leaves(part)))

        given = given(tree) if callable(given) else given
        jax.tree.map(note, given, tree, is_leaf=lambda x: x is None or _orthogonal.is_numbers(x))
        return found

    def init(params: Any) -> Any:
        refuse(SPEC.name, params, WHOLE)
        ours, rest = _split(params, numbers_of(params))
        moments = MuonState(tf.zero(), tf.zeros(ours, mu_dtype), jnp.asarray(ns_coeffs))
        chain = (moments, tf.EmptyState(), decay.start(), tf.rate_start(learning_rate))
        states = {"muon": tf.MaskedState(chain), "adam": tf.MaskedState(others.init(rest))}
        return PartitionState(states)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        refuse(SPEC.name, grads, WHOLE)
        numbers = numbers_of(grads)
        held = state.inner_states
        moments, shaping, decaying, rate = held["muon"].inner_state
        ours, rest = _split(grads, numbers)
        our_params, rest_params = (None, None) if params is None else _split(params, numbers)
        wd, decays, decaying = decay.now(decaying, ours, our_params)
        lr, rate = tf.rate_now(learning_rate, rate)
        count = tf.advance(moments.count)
        layouts = iter(n for n in numbers if n is not None)

        def leaf(dtype: Any, g: Any, m: Any, p: Any, decays: Any) -> Any:
            layout = _orthogonal.Layout(g.shape, next(layouts))
            keep, size = tf.scalar(beta, dtype), tf.scalar(lr, dtype)
            m = keep * m + (1 - keep) * g
            now = tf.unbiased(keep, count, dtype) if bias_correction else 1.0
            ahead = tf.unbiased(keep, count + 1, dtype) if bias_correction else 1.0
            x = m * (keep / ahead) + g * ((1 - keep) / now) if nesterov else m / now
            d = layout.leaf(
                _orthogonal.orthogonalize(
                    layout.matrices(x),
                    moments.ns_coeffs,
                    ns_steps,
                    preconditioning,
                    tf.scalar(eps, dtype),
                    eps_added,
                )
            )
            if adaptive:
                d = jnp.sum(x * d) * d
            if consistent_rms is None:
                d = math.sqrt(max(1.0, layout.outputs / max(layout.inputs, 1))) * d
            else:
                wide = math.sqrt(max(layout.inputs, layout.outputs))
                d = tf.scalar(consistent_rms, dtype) * wide * d
            if decays:
                d = d + tf.scalar(wd, dtype) * p
            return -size * d, m

        moved, (mu,) = tf.map_leaves(SPEC.name, leaf, ours, (moments.mu,), our_params, decays)
        kept, adam = others.update(rest, held["adam"].inner_state, rest_params)
        chain = (MuonState(count, mu, moments.ns_coeffs), shaping, decaying, rate)
        states = {"muon": tf.MaskedState(chain), "adam": tf.MaskedState(adam)}
        return _join(jax.tree.structure(grads), numbers, moved, kept), PartitionState(states)

    return tf.GradientTransformation(init, update)


def _split(tree: Any, numbers: list[Any]) -> tuple[Any, Any]:
    """The tree with its leaves for Muon, and the one with those for AdamW."""
    leaves, shape = jax.tree.flatten(tree)
    pairs = list(zip(leaves, numbers, strict=True))
    ours = shape.unflatten([MaskedNode() if n is None else x for x, n in pairs])
    return ours, shape.unflatten([x if n is None else MaskedNode() for x, n in pairs])


def _join(shape: Any, numbers: list[Any], ours: Any, rest: Any) -> Any:
    left, right = iter(jax.tree.leaves(ours)), iter(jax.tree.leaves(rest))
    return shape.unflatten([next(right) if n is None else next(left) for n in numbers])
