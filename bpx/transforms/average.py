"""Averages of the weights beside them, and lookahead, which goes back to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.limits import count, share
from bpx.spec import Options, Reject, require
from bpx.training import Transform

PATH = "transforms/average"
Array = NDArray[Any]
Arrays = list[Array]
State = dict[str, Any]


def _start(ps: Arrays, **options: Any) -> State:
    return {"n": 0, "mean": [np.zeros_like(p) for p in ps]}


def _ema(ps: Arrays, state: State, *, decay: float, debias: bool) -> Any:
    n, mean = state["n"] + 1, state["mean"]
    if n == 1 and not debias:
        mean = list(ps)
    else:
        mean = [decay * m + (1 - decay) * p for m, p in zip(mean, ps, strict=True)]
    out = [m / (1 - decay**n) for m in mean] if debias else mean
    return out, {"n": n, "mean": mean}


def _ema_check(o: Options) -> None:
    share("weight_ema", o, "decay")
    require(
        not o["debias"] or o["decay"] < 1,
        f"weight_ema: debias is True with decay {o['decay']!r}, expected decay below 1",
    )


EMA = Transform(
    name="weight_ema",
    path=PATH,
    doc="""An exponential moving average of the weights.

    mean_1 = p_1
    mean_n = decay * mean_{n-1} + (1 - decay) * p_n      n = 2, 3, ...

* debias: mean_0 = 0 and the formula from n = 1 on; the average is mean_n / (1 - decay^n), so that
  it is a weighted mean of all p and the start weighs no more than its share. As optax.ema, which
  takes the average of updates; torch.optim.swa_utils starts from the first weights.

Source: Polyak, Juditsky 1992, "Acceleration of stochastic approximation by averaging", SIAM J.
Control Optim. 30(4); Kingma, Ba 2015, arXiv:1412.6980, section 7.2 for the correction.
""",
    on="weights",
    options={"decay": 0.999, "debias": False},
    state=("n", "mean"),
    init=_start,
    step=_ema,
    check=_ema_check,
    trials=({}, {"decay": 0.7}, {"decay": 0.8, "debias": True}),
    rejects=(
        Reject("weight_ema: decay is 1.5, expected a number in [0, 1]", {}, {"decay": 1.5}),
        Reject(
            "weight_ema: debias is True with decay 1.0, expected decay below 1",
            {},
            {"decay": 1.0, "debias": True},
        ),
    ),
)


def _swa_start(ps: Arrays, **options: Any) -> State:
    return {"t": 0, "n": 0, "mean": [np.zeros_like(p) for p in ps]}


def _swa(ps: Arrays, state: State, *, start: int, every: int) -> Any:
    t, n, mean = state["t"] + 1, state["n"], state["mean"]
    if t > start and (t - start - 1) % every == 0:
        mean = [m + (p - m) / (n + 1) for m, p in zip(mean, ps, strict=True)]
        n = n + 1
    return (mean if n else list(ps)), {"t": t, "n": n, "mean": mean}


def _swa_check(o: Options) -> None:
    count("weight_swa", o, "start", least=0)
    count("weight_swa", o, "every")


SWA = Transform(
    name="weight_swa",
    path=PATH,
    doc="""Stochastic weight averaging: the plain mean of the weights along the run.

    mean <- mean + (p - mean) / (n + 1),   n <- n + 1

after steps start + 1, start + 1 + every, start + 1 + 2 every, ... Before the first of them the
answer is p itself. Batch norms need their statistics anew for the averaged weights
(torch.optim.swa_utils.update_bn).

Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization",
arXiv:1803.05407, algorithm 1.
""",
    on="weights",
    options={"start": 0, "every": 1},
    state=("t", "n", "mean"),
    init=_swa_start,
    step=_swa,
    check=_swa_check,
    trials=({}, {"start": 4, "every": 3}),
    rejects=(
        Reject("weight_swa: start is -1, expected an integer at least 0", {}, {"start": -1}),
        Reject("weight_swa: every is 0, expected an integer at least 1", {}, {"every": 0}),
    ),
)


def _lookahead_start(ps: Arrays, **options: Any) -> State:
    return {"n": 0, "slow": list(ps)}


def _lookahead(ps: Arrays, state: State, *, k: int, alpha: float) -> Any:
    n, slow = state["n"] + 1, state["slow"]
    if n < k:
        return list(ps), {"n": n, "slow": slow}
    slow = [s + alpha * (p - s) for s, p in zip(slow, ps, strict=True)]
    return list(slow), {"n": 0, "slow": slow}


def _lookahead_check(o: Options) -> None:
    count("lookahead", o, "k")
    share("lookahead", o, "alpha")


LOOKAHEAD = Transform(
    name="lookahead",
    path=PATH,
    doc="""Lookahead: k steps forward, one step back.

    every k steps of the optimizer:
        slow <- slow + alpha * (p - slow)
        p    <- slow

The slow weights begin as the weights the optimizer begins with. The optimizer's own state
(momentum) is kept over the step back.

Source: Zhang, Lucas, Hinton, Ba 2019, "Lookahead optimizer: k steps forward, 1 step back",
arXiv:1907.08610, algorithm 1.
""",
    on="weights",
    options={"k": 5, "alpha": 0.5},
    state=("n", "slow"),
    init=_lookahead_start,
    step=_lookahead,
    check=_lookahead_check,
    trials=({}, {"k": 3, "alpha": 0.8}, {"k": 1, "alpha": 0.3}),
    rejects=(
        Reject("lookahead: k is 0, expected an integer at least 1", {}, {"k": 0}),
        Reject("lookahead: alpha is 1.5, expected a number in [0, 1]", {}, {"alpha": 1.5}),
    ),
)
