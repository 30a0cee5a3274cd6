"""A sample as a table: one row a layer, one a parameter of no layer."""

from __future__ import annotations

import math

from bpx.health.record import Layer, Moments, Parameter, Sample

HEAD = (
    "layer",
    "kind",
    "mean",
    "variance",
    "gradient var.",
    "dead",
    "saturated",
    "weight gradient var.",
    "update/weight",
)


def rows(sample: Sample) -> list[tuple[str, ...]]:
    """Every layer with its largest parameter, then the parameters of no layer that was seen."""
    owned: dict[str, list[Parameter]] = {}
    for p in sample.parameters:
        owned.setdefault(p.layer, []).append(p)
    found = []
    for layer in sample.layers:
        own = max(owned.pop(layer.name, []), key=lambda p: p.weight.count, default=None)
        found.append((*_layer(layer), *_parameter(own)))
    for rest in owned.values():
        found += [(p.name, "", "", "", "", "", "", *_parameter(p)) for p in rest]
    return found


def text(sample: Sample) -> str:
    """The table in plain text, numbers to the right."""
    lines = [HEAD, *rows(sample)]
    widths = [max(len(row[i]) for row in lines) for i in range(len(HEAD))]
    rule = tuple("-" * w for w in widths)
    shown = [
        "  ".join(
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (HEAD, rule, *lines[1:])
    ]
    return "\n".join([f"step {sample.step}", *(line.rstrip() for line in shown)])


def _layer(layer: Layer) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        _mean(layer.activation),
        _variance(layer.activation),
        _variance(layer.gradient),
        share(layer.dead) if layer.kind == "relu" else "",
        share(layer.saturated),
    )


def _parameter(p: Parameter | None) -> tuple[str, str]:
    if p is None:
        return "", ""
    return _variance(p.gradient), "" if p.ratio is None else number(p.ratio)


def _mean(m: Moments) -> str:
    return number(m.mean) if m.finite else f"{m.nonfinite} not finite"


def _variance(m: Moments | None) -> str:
    if m is None:
        return ""
    return number(m.variance) if m.finite else f"{m.nonfinite} not finite"


def number(x: float) -> str:
    """Three digits."""
    if x == 0 or not math.isfinite(x):
        return "0" if x == 0 else str(x)
    return f"{x:.3g}" if 1e-3 <= abs(x) < 1e4 else f"{x:.1e}"


def share(x: float | None) -> str:
    return "" if x is None else f"{x:.0%}"
