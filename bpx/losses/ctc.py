r"""Connectionist temporal classification: the log-probability of a label sequence, all alignments
of which with the frames are summed. log_probs is (frames, batch, classes).

    l            = blank l_1 blank l_2 .. l_L blank             M = 2 S + 1 places, 2 L + 1 in use
    e[t, s]      = log_probs[t, l_s]
    a[0]         = 0 at place 0, -inf at the others
    a[t, s]      = e[t, s] + log(exp a[t-1, s] + exp a[t-1, s-1] + [l_s != l_{s-2}] exp a[t-1, s-2])
    loss         = -log(exp a[T_n, 2 L] + exp a[T_n, 2 L - 1])                 T_n = input_lengths
    y            = mean(loss / max(L, 1)) | sum(loss) | loss

A blank (s even) is never jumped over to another. Frames from T_n on and labels from L =
target_lengths on may hold any value (labels: any class) and have gradient 0. The empty sequence
of labels has the all-blank alignment; an item without frames has the empty one, with loss 0. The
mean over no items is 0.

The gradient is the derivative in log_probs, minus the probability of each class at each frame
given the labels; nothing asks log_probs to sum to 1. torch.nn.functional.ctc_loss adds
exp(log_probs) to it, which is the same behind a log_softmax and wrong elsewhere.

A sequence that cannot be aligned (too few frames, or the labels have probability 0) has loss inf
and gradient NaN in all its frames; with zero_infinity loss 0 and gradient 0. A length or a label
out of range raises where its value can be seen; elsewhere (GPU, jit, vmap) its loss is NaN.
Source: Graves, Fernandez, Gomez, Schmidhuber 2006, "Connectionist temporal classification:
labelling unsegmented sequence data with recurrent neural networks", ICML,
doi:10.1145/1143844.1143891, eq. 5-16; options and reductions as in torch.nn.CTCLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, one_of, require


def _log_sum_exp(*terms: Any) -> Any:
    top = np.max([term.real for term in terms], axis=0)
    dead = top == -np.inf
    held = np.where(dead, 0, top)
    total = np.sum([np.exp(term - held) for term in terms], axis=0)
    return np.where(dead, -np.inf, held + np.log(np.where(dead, 1, total)))


def _shares(total: Any, *terms: Any) -> list[Any]:
    """The derivatives of total = log_sum_exp(terms), 0 where there is nothing to share."""
    dead = total == -np.inf
    return [np.where(dead, 0, np.exp(term - np.where(dead, 0, total))) for term in terms]


def _shifted(a: Any, places: int) -> Any:
    gone = np.full((*a.shape[:-1], places), -np.inf, dtype=a.dtype)
    return np.concatenate([gone, a], -1)[..., : a.shape[-1]]


def _back(da: Any, places: int) -> Any:
    gone = np.zeros((*da.shape[:-1], places))
    return np.concatenate([da, gone], -1)[..., places:]


def _places(targets: Any, blank: int) -> Any:
    """(labels at the places, where a place can be entered from two places before)."""
    labels = np.full((*targets.shape[:-1], 2 * targets.shape[-1] + 1), blank, dtype=np.int64)
    labels[..., 1::2] = targets
    jump = np.full(labels.shape, False)
    jump[..., 2:] = labels[..., 2:] != labels[..., :-2]
    return labels, jump


def _lines(log_probs: Any, targets: Any, t_n: Any, u_n: Any, blank: int) -> Any:
    labels, jump = _places(targets, blank)
    whole = np.broadcast_to(labels, (len(log_probs), *labels.shape))
    e = np.take_along_axis(log_probs, whole, -1)
    a = np.full(labels.shape, -np.inf, dtype=log_probs.dtype)
    a[..., 0] = 0
    states = [a]
    for t in range(len(log_probs)):
        two = np.where(jump, _shifted(a, 2), -np.inf)
        total = _log_sum_exp(a, _shifted(a, 1), two)
        a = np.where((t < t_n)[..., None], e[t] + total, a)
        states.append(a)
    last = np.take_along_axis(a, 2 * u_n[..., None], -1)[..., 0]
    before = np.take_along_axis(a, np.maximum(2 * u_n - 1, 0)[..., None], -1)[..., 0]
    before = np.where(u_n > 0, before, -np.inf)
    return whole, jump, states, last, before, -_log_sum_exp(last, before)


def forward(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Any:
    lines = _lines(log_probs, targets, input_lengths, target_lengths, blank)
    whole, states, loss = lines[0], lines[2], lines[-1]
    alpha = np.stack(states)[1:].reshape(whole.shape)
    if zero_infinity:
        loss = np.where(loss.real == np.inf, 0, loss)
    if reduction == "mean":
        return (loss / np.maximum(target_lengths, 1)).sum() / max(loss.size, 1), (alpha,)
    return loss.sum() if reduction == "sum" else loss, (alpha,)


def backward(
    dy: Any,
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Any:
    """The adjoint of forward, frame by frame from the last, line by line from the bottom."""
    t_n, u_n = input_lengths, target_lengths
    lines = _lines(log_probs, targets, t_n, u_n, blank)
    whole, jump, states, last, before, loss = lines
    dloss = np.broadcast_to(dy, loss.shape)
    if reduction == "mean":
        dloss = dloss / max(loss.size, 1) / np.maximum(u_n, 1)  # y = mean(loss / max(L, 1))
    impossible = loss == np.inf
    dloss = np.where(impossible, 0, dloss)  # loss = where(impossible, 0, loss), NaN set below
    dlast, dbefore = (-dloss * s for s in _shares(-loss, last, before))  # loss = -log_sum_exp
    dbefore = np.where(u_n > 0, dbefore, 0)  # before = where(L > 0, before, -inf)
    da = np.zeros(states[0].shape)
    at = np.maximum(2 * u_n - 1, 0)[..., None]  # before = a[2 L - 1]
    np.put_along_axis(da, at, dbefore[..., None], -1)
    place = 2 * u_n[..., None]  # last = a[2 L]
    here = np.take_along_axis(da, place, -1) + dlast[..., None]
    np.put_along_axis(da, place, here, -1)
    dlog_probs = np.zeros(log_probs.shape)
    for t in reversed(range(len(log_probs))):
        live = (t < t_n)[..., None]  # a = where(live, e[t] + total, a)
        dnew, da = np.where(live, da, 0), np.where(live, 0, da)
        a = states[t]  # total = log_sum_exp(a, shifted(a, 1), two)
        one, two = _shifted(a, 1), np.where(jump, _shifted(a, 2), -np.inf)
        stay, step, skip = _shares(_log_sum_exp(a, one, two), a, one, two)
        da = da + dnew * stay
        da = da + _back(dnew * step, 1)
        da = da + _back(np.where(jump, dnew * skip, 0), 2)  # two = where(jump, shifted(a, 2), -inf)
        for m in range(whole.shape[-1]):  # e = log_probs[labels]
            label = whole[t][..., m : m + 1]
            more = np.take_along_axis(dlog_probs[t], label, -1) + dnew[..., m : m + 1]
            np.put_along_axis(dlog_probs[t], label, more, -1)
    frames = np.arange(len(log_probs)).reshape(-1, *[1] * np.ndim(t_n)) < t_n
    undefined = frames & impossible & (not zero_infinity)
    return np.where(undefined[..., None], np.nan, dlog_probs), None, None, None


def check(dims: Dims, o: Options) -> None:
    check_reduction("ctc_loss", o)
    one_of("ctc_loss", "zero_infinity", o["zero_infinity"], (False, True))
    blank, classes = o["blank"], dims["C"]
    require(
        isinstance(blank, int) and 0 <= blank < classes,
        f"ctc_loss: blank is {blank!r}, expected 0 <= blank < {classes}",
    )
    require(dims["T"] > 0, "ctc_loss: log_probs has 0 frames, expected at least 1")
    dims["M"] = 2 * dims["S"] + 1
    dims["Frames"], dims["Labels"] = dims["T"] + 1, dims["S"] + 1  # a length may be all of it


def cases(draw: Any) -> Iterator[Case]:
    def arrays(t: int, c: int, targets: Any, frames: Any, labels: Any) -> dict[str, Any]:
        targets = np.asarray(targets, np.int64)
        return {
            "log_probs": draw(t, *targets.shape[:-1], c) - 1,
            "targets": targets,
            "input_lengths": np.asarray(frames, np.int64),
            "target_lengths": np.asarray(labels, np.int64),
        }

    loud = {"blank": 2, "reduction": "sum"}
    yield Case("mean", arrays(4, 5, [[3, 3, 1], [4, 1, 0]], [4, 3], [2, 1]))
    last = arrays(5, 3, [[0, 1], [1, 1], [0, 0]], [5, 4, 2], [2, 2, 0])
    yield Case("blank last, no labels", last, loud)
    yield Case("one sequence, one frame", arrays(1, 4, [3], 1, 1), {"reduction": "none"})
    two = arrays(4, 4, [[1, 2], [3, 1]], [4, 3], [2, 2])
    two["log_probs"][1, 0, 2] = two["log_probs"][2, 1, 0] = -np.inf
    two["log_probs"][3, 1] = np.nan
    yield Case("a class of probability 0", two, {"reduction": "none"})
    tight = arrays(4, 3, [[1, 1, 1], [1, 2, 1], [2, 0, 0], [1, 0, 0]], [4, 4, 0, 0], [3, 3, 1, 0])
    why = "the loss is inf where no alignment exists"
    yield Case("impossible", tight, {"reduction": "none"}, kink=why)
    yield Case("impossible, zeroed", tight, {"zero_infinity": True})
    yield Case("no sequences", arrays(3, 4, np.zeros((0, 2)), np.zeros(0), np.zeros(0)))


GOOD = {"log_probs": (6, 2, 5), "targets": (2, 3), "input_lengths": (2,), "target_lengths": (2,)}

SPEC = Op(
    name="ctc_loss",
    path="losses/ctc",
    doc=__doc__,
    args=(
        Arg("log_probs", "T *N C", domain=(-np.inf, 0.0)),
        Arg("targets", "*N S", kind="index", below="C"),
        Arg("input_lengths", "*N", kind="index", below="Frames"),
        Arg("target_lengths", "*N", kind="index", below="Labels"),
    ),
    out=out,
    residuals={"alpha": "T *N M"},
    saves=("log_probs", "targets", "input_lengths", "target_lengths"),
    options={"blank": 0, "reduction": "mean", "zero_infinity": False},
    check=check,
    rejects=(
        Reject("targets has shape (3, 3), but dim N is (2,)", {**GOOD, "targets": (3, 3)}),
        Reject("input_lengths is None, expected (*N)", {**GOOD, "input_lengths": None}),
        Reject("log_probs has 0 frames", {**GOOD, "log_probs": (0, 2, 5)}),
        Reject("blank is 5, expected 0 <= blank < 5", GOOD, {"blank": 5}),
        Reject("blank is 1.5, expected 0 <= blank < 5", GOOD, {"blank": 1.5}),
        Reject("zero_infinity is None, expected one of", GOOD, {"zero_infinity": None}),
        reject_reduction(GOOD),
        Reject(
            "input_lengths holds 7, expected 0 <= input_lengths < 7",
            GOOD,
            values={"input_lengths": [6, 7]},
        ),
        Reject("target_lengths holds 4, expected", GOOD, values={"target_lengths": [4, 3]}),
        Reject("targets holds 5, expected", GOOD, values={"targets": [[1, 2, 3], [4, 5, 1]]}),
    ),
    bench={
        "small": {"T": 16, "N": 4, "C": 8, "S": 5, "Frames": 17, "Labels": 6},
        "typical": {"T": 100, "N": 8, "C": 32, "S": 20, "Frames": 101, "Labels": 21},
        "large": {"T": 200, "N": 16, "C": 64, "S": 40, "Frames": 201, "Labels": 41},
        "odd": {"T": 13, "N": 3, "C": 7, "S": 4, "Frames": 14, "Labels": 5},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
