"""The page and the pictures of the feedback-alignment study, from its stored numbers alone."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

RESULTS = "feedback-alignment.json"
PICTURE = "feedback-alignment.svg"
PAGE = "feedback-alignment.md"
MARK = (
    "<!-- written by `python -m bpx study --out docs`, from the numbers in the .json beside it -->"
)
NAMES = {
    "exact": "back-propagation",
    "feedback": "feedback alignment",
    "direct": "direct feedback alignment",
}
# colours told apart without red and green
COLOURS = {"exact": "#333333", "feedback": "#d55e00", "direct": "#0072b2"}
SHADES = {
    "feedback": ("#d55e00", "#e69f00", "#a6761d", "#7f3b08"),
    "direct": ("#0072b2", "#56b4e9", "#08306b", "#7a9cc6"),
}
STYLE = {
    "svg.hashsalt": "bpx",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}

TEXT = """\
# Feedback alignment

Back-propagation sends the error of a layer's output back through the transpose of the layer's own
weights. Two rules of `bpx` do without; their pages say so under "Not the derivative".

- [linear_feedback_alignment](surrogate/linear_feedback_alignment.md) sends it through a random
  matrix that is drawn once and never trained (Lillicrap et al. 2016).
- [direct_feedback_alignment](surrogate/direct_feedback_alignment.md) sends the error of the
  network's output to every hidden layer at once, through a random matrix for each (Nøkland 2016).

One network ({sizes}, tanh) is trained on scikit-learn's 8 x 8 digits three times for
{epochs} epochs: the same weights to begin with, the same order of images, gradient descent with
batches of {batch} and a rate of {lr:g}. After each epoch the update that a rule would make on all
training images is compared with the exact gradient at the same weights: the angle between the two,
layer by layer. At 90 degrees an update knows nothing of the gradient; below, a small step goes down
the loss. The output layer has its exact gradient in all three, an angle of 0.

![Test accuracy and angles over the epochs]({picture})

{table}

The angles are those after the last epoch; before the first they were {low:.0f}° to {high:.0f}°. The
matrices stay as they were drawn: where an angle has fallen, the weights have come to agree with
them.

`python -m bpx study` trains again in less than a minute, `--framework jax` in JAX; `--out docs`
writes this page, its numbers and its picture.
"""


def rows(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: accuracy and the hidden layers' angles after the last epoch."""
    hidden = len(results["angles"]["exact"][-1]) - 1
    head = ["rule", "test accuracy", *(f"angle, layer {i + 1}" for i in range(hidden))]
    found = []
    for rule, name in NAMES.items():
        angles = [f"{a:.0f}°" for a in results["angles"][rule][-1][:hidden]]
        found.append([name, f"{results['accuracy'][rule][-1]:.1%}", *angles])
    return head, found


def page(results: dict[str, Any]) -> str:
    """The page in Markdown."""
    head, body = rows(results)
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in body]
    first = [a for rule in ("feedback", "direct") for a in results["angles"][rule][0][:-1]]
    text = TEXT.format(
        sizes=" - ".join(map(str, results["sizes"])),
        batch=results["batch"],
        lr=results["lr"],
        epochs=results["epochs"],
        picture=PICTURE,
        table="\n".join(lines),
        low=min(first),
        high=max(first),
    )
    return f"{MARK}\n{text}"


def digest(results: dict[str, Any]) -> str:
    """A fingerprint of the numbers, which the picture carries."""
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()[:16]


def picture(results: dict[str, Any]) -> str:
    """The three pictures side by side, as one SVG file."""
    file = io.StringIO()
    about = {"Date": None, "Description": f"results {digest(results)}"}
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure(results).savefig(file, format="svg", metadata=about)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def figure(results: dict[str, Any]) -> Any:
    """Accuracy of the three rules; angles of the two that align, one line to a layer."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        found = Figure(figsize=(11, 3.3), layout="constrained", facecolor="white")
        left, *others = found.subplots(1, 3)
        epochs = range(results["epochs"] + 1)
        for rule, name in NAMES.items():
            percent = [100 * a for a in results["accuracy"][rule]]
            left.plot(epochs, percent, color=COLOURS[rule], label=name, linewidth=1.6)
        left.set_title("accuracy", loc="left", fontsize=10)
        left.set_ylabel("test images recognised, %")
        left.set_ylim(0, 100)
        left.legend(loc="lower right")
        for axes, rule in zip(others, ("feedback", "direct"), strict=True):
            for i, degrees in enumerate(list(zip(*results["angles"][rule], strict=True))[:-1]):
                shades = SHADES[rule]
                axes.plot(
                    epochs,
                    degrees,
                    color=shades[i % len(shades)],
                    label=f"layer {i + 1}",
                    linestyle=("-", "--", "-.", ":")[i % 4],
                    linewidth=1.6,
                )
            axes.axhline(90, color="#888888", linewidth=1, linestyle=(0, (1, 2)))
            axes.set_title(NAMES[rule], loc="left", fontsize=10)
            axes.set_ylabel("angle to the exact gradient, degrees")
            axes.set_ylim(0, 120)
            axes.set_yticks(range(0, 121, 30))
            axes.legend(loc="lower left", ncols=3, fontsize=8, columnspacing=1, handlelength=2)
        for axes in (left, *others):
            axes.set_xlabel("epoch")
            axes.set_xlim(0, results["epochs"])
            axes.xaxis.get_major_locator().set_params(integer=True)
        return found
