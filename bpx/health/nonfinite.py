"""The first value that is not finite: which layer made it, in which step, on which way."""

from __future__ import annotations

from dataclasses import dataclass

from bpx.health.record import Sample


@dataclass(frozen=True)
class NonFinite:
    """phase is "parameter", "forward", "backward", "gradient" or "update"; `after` names the layer
    whose gradient was still finite on the way back, or whose output was on the way forward."""

    step: int
    phase: str
    layer: str
    after: str = ""


def first(sample: Sample) -> NonFinite | None:
    """The first in the order of the step: parameters, forward, backward, parameters' gradients,
    update; None where all is finite."""
    for p in sample.parameters:
        if not p.weight.finite:
            return NonFinite(sample.step, "parameter", p.name)
    before = ""
    for layer in sample.layers:
        if not layer.activation.finite:
            return NonFinite(sample.step, "forward", layer.name, before)
        before = layer.name
    later = ""
    for layer in reversed(sample.layers):
        if layer.gradient is not None:
            if not layer.gradient.finite:
                # the gradient by this output was made on the other side of it
                return NonFinite(sample.step, "backward", later or "loss", layer.name)
            later = layer.name
    for p in reversed(sample.parameters):
        if p.gradient is not None and not p.gradient.finite:
            return NonFinite(sample.step, "gradient", p.name)
    for p in sample.parameters:
        # a norm that overflows is no more finite than its values
        if p.update is not None and not p.update < float("inf"):
            return NonFinite(sample.step, "update", p.name)
    return None


def words(found: NonFinite, earlier: int | None) -> str:
    """What was seen, in words; `earlier` is the step of the sample before."""
    where, first = found.layer, "is the first value that is not finite"
    match found.phase:
        case "forward":
            given = f", and that of layer {found.after} before it is finite" if found.after else ""
            return f"the output of layer {where} is the first that is not finite{given}"
        case "backward":
            maker = "the loss" if where == "loss" else f"layer {where}"
            return (
                f"the gradient that {maker} gives back to layer {found.after} {first}; forward is "
                "finite"
            )
        case "gradient":
            return f"the gradient of {where} {first}"
        case "update":
            return f"the update of {where} {first}"
    if earlier is None:
        return f"{where} is not finite at the beginning of the first sample"
    return (
        f"{where} is not finite at the beginning and was in step {earlier}: an update since then "
        "made it (every=1 finds the step)"
    )
