"""binary_cross_entropy_with_logits for JAX.

Maths, shapes and source: bpx/losses/binary_cross_entropy_with_logits.py.
"""

import jax

from bpx.losses.binary_cross_entropy_with_logits import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.losses._reduction import beside, each, reduce, scaled, sum_to


def lines(arrays):
    """Everything widened, with miss = softplus(-logits) and alarm = softplus(logits)."""
    z = at_least_float32(arrays[0])
    rest = (beside(a, z) for a in arrays[1:])
    return (z, *rest, jax.nn.softplus(-z), jax.nn.softplus(z))


def forward(logits, target, weight, pos_weight, *, reduction):
    _, target, weight, pos, miss, alarm = lines((logits, target, weight, pos_weight))
    loss = scaled(scaled(target * miss, pos) + (1 - target) * alarm, weight)
    return reduce(loss, reduction).astype(logits.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the count in a mean) and gw = g * weight:
    #   dlogits = gw * ((1 - target) sigmoid(z) - pos_weight target sigmoid(-z))
    #   dtarget = gw * (pos_weight miss - alarm)
    #   dweight = g * (pos_weight target miss + (1 - target) alarm)
    #   dpos_weight = gw * target * miss          the last two summed over the axes they span
    z, target, weight, pos, miss, alarm = lines(arrays)
    g = each(dy.astype(z.dtype), z.size, reduction)
    gw = scaled(g, weight)
    false_alarm = (1 - target) * jax.nn.sigmoid(z)
    dlogits = gw * (false_alarm - scaled(target * jax.nn.sigmoid(-z), pos))
    dtarget = gw * (scaled(miss, pos) - alarm)
    dweight = dpos = None
    if needs[2]:
        bare = scaled(target * miss, pos) + (1 - target) * alarm
        dweight = sum_to(g * bare, arrays[2].shape)
    if needs[3]:
        dpos = sum_to(gw * target * miss, arrays[3].shape)
    return dlogits, dtarget, dweight, dpos


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward),
    ),
)


def binary_cross_entropy_with_logits(
    logits, target, weight=None, pos_weight=None, *, reduction="mean"
):
    """Cross-entropy of sigmoid(logits) (*N) with target (*N); weight and pos_weight broadcast to
    logits. Maths: bpx/losses/binary_cross_entropy_with_logits.py."""
    return RULE(logits, target, weight, pos_weight, reduction=reduction)
