"""A weight's layout, declared as a string: which axis is which."""

from __future__ import annotations

from typing import Any

from bpx.spec import Options, require

Shape = tuple[int, ...]

FIELD = "DHW"
LETTERS = f"one I, one O and at most one each of {', '.join(FIELD)} and N"
# what the axes of a record are when a call names none: torch's
AXES: Options = {"in_axis": 1, "out_axis": 0, "batch_axis": ()}

# what a call with the shape (2, 3) hears: the beginning of the message, the options
LAYOUT_REJECTS: tuple[tuple[str, Options], ...] = (
    ("layout is 'IX', expected a string of one I, one O", {"layout": "IX"}),
    ("layout is 'OOI', expected a string of one I, one O", {"layout": "OOI"}),
    ("layout is 'OIHW' of 4 axes, expected one of 2", {"layout": "OIHW"}),
    ("in_axis is 0 beside layout 'IO', expected one", {"in_axis": 0, "layout": "IO"}),
)


def axes_of(layout: str) -> dict[str, Any]:
    """in_axis, out_axis and batch_axis of a layout, as the initializers take them.

    O are the output channels, I the input channels, D, H and W the receptive field, and N a stack
    of weights that have nothing to do with each other. Linear: "OI" (torch) or "IO" (JAX, keras).
    Convolution: "OIW", "OIHW", "OIDHW" (torch), "WIO", "HWIO", "DHWIO" (JAX, keras). Transposed
    convolution: "IOHW" (torch), "HWOI" (keras).

    >>> axes_of("HWIO")
    {'in_axis': 2, 'out_axis': 3, 'batch_axis': ()}
    """
    _check("axes_of", layout)
    stack = (layout.index("N"),) if "N" in layout else ()
    return {"in_axis": layout.index("I"), "out_axis": layout.index("O"), "batch_axis": stack}


def _check(entry: str, layout: Any) -> None:
    known = (
        isinstance(layout, str)
        and len(set(layout)) == len(layout)
        and {"I", "O"} <= set(layout) <= {"I", "O", "N", *FIELD}
    )
    require(known, f"{entry}: layout is {layout!r}, expected a string of {LETTERS}")


def check_layout(entry: str, shape: Shape, options: Options) -> None:
    """Raise unless `layout` is None, or fits the shape and no axis is named beside it."""
    layout = options["layout"]
    if layout is None:
        return
    _check(entry, layout)
    require(
        len(layout) == len(shape),
        f"{entry}: layout is {layout!r} of {len(layout)} axes, "
        f"expected one of {len(shape)} for the shape {shape}",
    )
    for option, default in AXES.items():
        if option in options:
            require(
                options[option] == default,
                f"{entry}: {option} is {options[option]!r} beside layout {layout!r}, "
                "expected one of the two",
            )


def axes(options: Options) -> tuple[Any, Any, Any]:
    """(in_axis, out_axis, batch_axis) of a call, whichever way it says them."""
    said = options if options["layout"] is None else axes_of(options["layout"])
    return said["in_axis"], said["out_axis"], said.get("batch_axis", ())


def check_channels(entry: str, shape: Shape, options: Options) -> None:
    """Raise unless a call names two axes of the shape as its channels, and no stack."""
    check_layout(entry, shape, options)
    in_axis, out_axis, stack = axes(options)
    n, places = len(shape), (out_axis, in_axis)
    known = all(isinstance(i, int) and -n <= i < n for i in places)
    require(
        known and out_axis % n != in_axis % n,
        f"{entry}: out_axis and in_axis are {places}, expected two axes of the shape {shape}",
    )
    require(not stack, f"{entry}: layout is {options['layout']!r}, expected none with N")
