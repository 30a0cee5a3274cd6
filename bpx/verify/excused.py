"""Cases in which a rule keeps more bytes for backward than autodiff of its forward does, and why.
At the sizes of a network the reasons are bytes beside megabytes; a test sees that each still holds.
"""

LAST = "it keeps its output whole, of which autodiff lets the last state go"

MORE_BYTES = {
    ("linear_recurrence", "gates of zero"): LAST,
    (
        "nll_loss",
        "one row",
    ): "it keeps the weight of every class, an argument, and autodiff that of the one label",
}
