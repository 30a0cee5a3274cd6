"""One check to a fault: what in a sample shows it, as (layer, evidence), or None.

A flow is the norm of something along the layers. Norms, not variances: pooling over P places
divides the variance of a gradient by P², its norm by the root of P, and neither is a fault.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable

from bpx.health.record import Layer, Parameter, Sample
from bpx.health.thresholds import Thresholds

Evidence = tuple[str, str] | None
Flow = list[tuple[str, float]]


def symmetric(sample: Sample, limit: Thresholds) -> Evidence:
    for p in sample.parameters:
        if p.twins is not None and p.twins >= limit.twins:
            return p.layer or p.name, (
                f"{p.twins:.0%} of the units of {p.name} have the weights and the gradient of "
                "another unit"
            )
    return None


def dead(sample: Sample, limit: Thresholds) -> Evidence:
    worst = _worst(
        (layer, layer.dead)
        for layer in sample.layers
        if layer.kind == "relu" and layer.examples >= limit.examples
    )
    if worst is None or worst[1] < limit.dead:
        return None
    layer, share = worst
    return layer.name, (
        f"{share:.0%} of the units of layer {layer.name} are zero for every one of "
        f"{layer.examples} examples"
    )


def saturated(sample: Sample, limit: Thresholds) -> Evidence:
    worst = _worst((layer, layer.saturated) for layer in sample.layers)
    if worst is None or worst[1] < limit.saturated:
        return None
    layer, share = worst
    what = "rows" if layer.kind == "softmax" else "values"
    return layer.name, f"{share:.0%} of the {what} of layer {layer.name} are at their bounds"


def exploding(sample: Sample, limit: Thresholds) -> Evidence:
    forward = activations(sample)
    for name, rms in forward[1:]:
        first = forward[0][1]
        if first > 0 and rms > limit.exploding * first:
            return name, (
                f"from layer {forward[0][0]} to layer {name} the activations grow "
                f"{times(rms / first)}"
            )
    back = gradients(sample)
    for name, norm in reversed(back[:-1]):
        last = back[-1][1]
        if last > 0 and norm > limit.exploding * last:
            return name, (
                f"from layer {back[-1][0]} back to layer {name} the norm of the gradient grows "
                f"{times(norm / last)}"
            )
    shares = [
        (p.gradient.norm / p.weight.norm, p)
        for p in sample.parameters
        if _matrix(p) and p.gradient is not None and p.weight.norm > 0
    ]
    share, worst = max(shares, key=lambda item: item[0], default=(0.0, None))
    if worst is None or not share > limit.relative:
        return None
    return worst.layer or worst.name, (
        f"the norm of the gradient of {worst.name} is {times(share)} that of its weights"
    )


def vanishing(sample: Sample, limit: Thresholds) -> Evidence:
    flow, what = gradients(sample), "layer "
    if len(flow) < 2:
        flow, what = weights(sample), ""  # parameters alone were seen
    if not flow:
        return None
    name, norm = flow[0]
    top, largest = max(flow, key=lambda item: item[1])
    if norm >= limit.vanishing * largest:
        return None
    return name, (
        f"the norm of the gradient at {what}{name} is {share_of(norm / largest)} of that at "
        f"{what}{top}"
    )


def too_high(sample: Sample, limit: Thresholds) -> Evidence:
    found = ratio(sample)
    if found is None or found[1] <= limit.high:
        return None
    name, share = found
    return name, f"one update is {share:.2g} of the weights (the median of the layers; {name})"


def too_low(sample: Sample, limit: Thresholds) -> Evidence:
    found = ratio(sample)
    if found is None or found[1] >= limit.low:
        return None
    name, share = found
    return name, f"one update is {share:.1e} of the weights (the median of the layers; {name})"


CHECKS: dict[str, Callable[[Sample, Thresholds], Evidence]] = {
    "symmetric": symmetric,
    "dead": dead,
    "saturated": saturated,
    "exploding": exploding,
    "vanishing": vanishing,
    "learning rate too high": too_high,
    "learning rate too low": too_low,
}


def activations(sample: Sample) -> Flow:
    """Root mean square of every finite output, in the order of forward."""
    return [
        (layer.name, layer.activation.rms)
        for layer in sample.layers
        if layer.kind not in ("softmax", "loss")
        and layer.activation.finite
        and layer.activation.count > 1
        and not math.isnan(layer.activation.rms)
    ]


def gradients(sample: Sample) -> Flow:
    """Norm of the gradient by every output, in the order of forward."""
    return [
        (layer.name, layer.gradient.norm)
        for layer in sample.layers
        if layer.kind != "loss" and layer.gradient is not None and _sane(layer.gradient.norm)
    ]


def weights(sample: Sample) -> Flow:
    """Norm of the gradient of every matrix, in the order of the parameters."""
    return [
        (p.name, p.gradient.norm)
        for p in sample.parameters
        if _matrix(p) and p.gradient is not None and _sane(p.gradient.norm)
    ]


def ratio(sample: Sample) -> tuple[str, float] | None:
    """The matrix with the median ratio of update to weights (of two, the smaller)."""
    known = [(p, p.ratio) for p in sample.parameters if _matrix(p)]
    found = [(r, p.layer or p.name) for p, r in known if r is not None and not math.isnan(r)]
    if not found:
        return None
    middle = statistics.median_low(sorted(found))
    return middle[1], middle[0]


def times(factor: float) -> str:
    return f"{factor:.0f} times" if factor < 1e5 else f"{factor:.0e} times".replace("e+0", "e")


def share_of(ratio: float) -> str:
    return "nothing" if ratio == 0 else f"{ratio:.0e}"


def _matrix(p: Parameter) -> bool:
    return len(p.shape) > 1


def _sane(norm: float) -> bool:
    return not math.isnan(norm)


def _worst(shares: Iterable[tuple[Layer, float | None]]) -> tuple[Layer, float] | None:
    """The first layer with the largest share."""
    known = [(layer, share) for layer, share in shares if share is not None]
    return max(known, key=lambda item: item[1], default=None)
