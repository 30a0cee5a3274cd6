"""Cases in which a rule keeps more bytes for backward than autodiff of its forward does, and why.
At the sizes of a network the reasons are bytes beside megabytes; a test sees that each still holds.
"""

MORE_BYTES = {
    (
        "linear_recurrence",
        "gates of zero",
    ): "it keeps its output whole, of which autodiff lets the last state go",
}
