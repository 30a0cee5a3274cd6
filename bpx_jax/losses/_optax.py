"""The losses of optax.losses over the rules of bpx, re-exported by bpx_jax.losses.

Options (delta, axis) are Python values. Stated differences from optax: a label out of range raises,
or gives NaN under jit and vmap (optax takes a negative one for a class from the end); a class of
probability 0 whose logit is -inf adds 0 (optax.softmax_cross_entropy: NaN, its safe_ sibling: 0);
labels that `where` leaves out have gradient 0 (optax: NaN), and an integer label on such a class
has loss inf (optax: its logit counts all the same).
GAPS has a reason for every other name in optax.losses.
"""

import math

import jax.numpy as jnp

from bpx.profiles import profiled
from bpx.spec import SpecError
from bpx_jax.losses.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from bpx_jax.losses.cross_entropy import cross_entropy
from bpx_jax.losses.huber import huber
from bpx_jax.losses.mse import mse
from bpx_jax.losses.nll_loss import nll_loss
from bpx_jax.losses.soft_cross_entropy import soft_cross_entropy


@profiled("mse", beyond=("reduction",))
def squared_error(predictions, targets=None, *, reduction="none"):
    return mse(*_pair(predictions, targets), reduction=reduction)


def l2_loss(predictions, targets=None):
    return mse(*_pair(predictions, targets), reduction="none", factor=0.5)


@profiled("huber", beyond=("reduction",))
def huber_loss(predictions, targets=None, *, delta=1.0, reduction="none"):
    if targets is not None:
        predictions, targets = _broadcast(predictions, targets)
    return huber(*_pair(predictions, targets), reduction=reduction, delta=delta)


@profiled("binary_cross_entropy_with_logits", beyond=("reduction",))
def sigmoid_binary_cross_entropy(logits, labels, *, reduction="none"):
    logits, labels = _broadcast(logits, labels)
    labels = labels.astype(logits.dtype)
    return binary_cross_entropy_with_logits(logits, labels, reduction=reduction)


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        labels = labels.astype(logits.dtype)
    mask = _mask(where, logits, axis)
    logits, labels = _broadcast(logits, labels)
    if mask is not None:
        mask = _last(jnp.broadcast_to(mask, logits.shape), axis)
    logits, labels = _last(logits, axis), _last(labels, axis)
    if mask is not None:
        logits, labels = jnp.where(mask, logits, -jnp.inf), jnp.where(mask, labels, 0.0)
    logits, labels = _promoted(logits, labels)
    return soft_cross_entropy(logits, labels, reduction="none")


def safe_softmax_cross_entropy(logits, labels):
    return softmax_cross_entropy(logits, labels)


@profiled("cross_entropy", beyond=("reduction", "ignore_index", "from_logits"))
def softmax_cross_entropy_with_integer_labels(
    logits, labels, axis=-1, where=None, *, reduction="none", ignore_index=None, from_logits=True
):
    """The loss of each row, or a reduction of them, without those of label ignore_index;
    from_logits=False takes probabilities, as keras does.

    >>> logits = jnp.array([[0.0, 0.0], [90.0, 0.0]])
    >>> softmax_cross_entropy_with_integer_labels(logits, jnp.array([1, 1]))
    Array([ 0.6931472, 90.       ], dtype=float32)
    """
    logits = jnp.asarray(logits)
    mask = _mask(where, logits, axis)
    if mask is not None:
        if reduction != "none" or not from_logits:
            raise SpecError(
                f"softmax_cross_entropy: where is given with reduction {reduction!r} and "
                f"from_logits {from_logits}, expected None, or 'none' and True"
            )
        mask = _last(jnp.broadcast_to(mask, logits.shape), axis)
    logits = _last(logits, axis)
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)
    if not from_logits:
        logits = jnp.log(jnp.clip(logits / logits.sum(-1, keepdims=True), EPSILON, 1 - EPSILON))
    rule = cross_entropy if from_logits else nll_loss
    loss = rule(logits, labels, ignore_index=ignore_index, reduction=reduction)
    return loss if mask is None else jnp.where(mask.any(-1), loss, 0.0)


EPSILON = 1e-7  # keras.config.epsilon()


def _promoted(a, b):
    """Both in the dtype JAX would compute in; under strict promotion two dtypes raise, as there."""
    dtype = jnp.result_type(a, b)
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype)


def _pair(predictions, targets):
    if targets is None:
        predictions = jnp.asarray(predictions)
        return predictions, jnp.zeros_like(predictions)
    return _promoted(predictions, targets)


def _broadcast(a, b):
    shape = jnp.broadcast_shapes(jnp.shape(a), jnp.shape(b))
    return jnp.broadcast_to(a, shape), jnp.broadcast_to(b, shape)


def _axes(ndim, axis):
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    if any(not -ndim <= a < ndim for a in axes):
        raise SpecError(f"softmax_cross_entropy: axis is {axis}, expected -{ndim} to {ndim - 1}")
    return [a % ndim for a in axes]


def _last(x, axis):
    """x with the axes moved to the end, in the order given, and made one."""
    axes = _axes(x.ndim, axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose(*rest, *axes)
    return moved.reshape(*(x.shape[i] for i in rest), math.prod(x.shape[i] for i in axes))


def _mask(where, logits, axis):
    """`where` with as many axes as logits: a missing class axis has size 1."""
    if where is None:
        return None
    where = jnp.asarray(where)
    return where if where.ndim == logits.ndim else jnp.expand_dims(where, axis)


_REASONS = {
    "a linear map of the labels: optax's own composes with these losses": "smooth_labels",
    "cosine_similarity of bpx_jax.nn, without optax's axis and where": """
        cosine_similarity""",
    "kl_divergence and sums that compose with it": "convex_kl_divergence generalized_kl_divergence",
    "eps within the root: triplet_margin has it within the difference": "triplet_margin_loss",
    "loss: not written yet": """binary_dice_loss ctc_loss_with_forward_probs dice_loss
        log_cosh make_fenchel_young_loss multiclass_generalized_dice_loss multiclass_hinge_loss
        multiclass_perceptron_loss multiclass_sparsemax_loss ntxent poly_loss_cross_entropy
        ranking_softmax_loss sparsemax_loss""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
