"""Checks with names, and how one is run: a crash, a print or a hang is a finding, not the end."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bpx.verify.finding import Finding

# family -> its letter in reports, and what it looks for
FAMILIES = {
    "kit": ("0", "the kit itself: the rule was called, a broken twin is rejected"),
    "forward": ("S1", "values against the reference"),
    "vjp": ("S2", "gradients against the reference, each argument alone"),
    "calculus": ("S3", "the reference against differences of its own forward"),
    "cotangent": ("G", "incoming gradients: negative, large, zero, one-hot, constant"),
    "linear": ("L", "the backward is linear in the incoming gradient"),
    "layout": ("Y", "memory layouts of arguments and of the incoming gradient"),
    "shape": ("H", "sizes 0, 1, odd, around blocks, long; ranks"),
    "value": ("V", "zeros, ties, ends of the domain, ignored and repeated indices"),
    "drawn": ("N", "sizes and edge values drawn by Hypothesis"),
    "scale": ("C", "very small and very large values, one outlier"),
    "dtype": ("D", "float32, bfloat16 and float16 against float64"),
    "purity": ("P", "arguments, incoming gradient and saved tensors stay as they are"),
    "repeat": ("R", "two runs are equal bit for bit"),
    "interleave": ("I", "another call between forward and backward"),
    "return": ("W", "what backward itself returns: count, shape, dtype"),
    "subset": ("Q", "every subset of arguments that ask for a gradient"),
    "unused": ("U", "outputs that are not used"),
    "twice": ("B", "second derivatives: right, or refused"),
    "transform": ("X", "vmap, jit, checkpoint and their like"),
    "neighbour": ("A", "operations before and after that saved what the rule sees"),
    "memory": ("M", "memory that was never written"),
    "options": ("K", "pairs of option values"),
    "width": ("Z", "offsets beyond 16 bits; 2^31 elements are not tried"),
    "trajectory": ("T", "parameters of an optimizer after every step"),
    "behaviour": ("E", "prints, hangs, and errors at the first ordinary input"),
}


class TimeLimit(Exception):
    """A check ran longer than it may."""


class NotRun(Exception):
    """A check has nothing to look at; the message says why."""


@dataclass(frozen=True)
class Check:
    """`run` yields (what, ratio, message) for each comparison; a message or a ratio above 1 is a
    failure. `eps` figures travel in a finding of its own where there is one. `long`: of arrays that
    take a while; `tried`: at a smaller size first, for what it will cost."""

    family: str
    name: str
    run: Callable[[], Iterable[Any]]
    long: bool = False
    tried: bool = False

    @property
    def id(self) -> str:
        return f"{self.family}::{self.name.replace(' ', '-')}"


@dataclass
class Outcome:
    """What one check found, and its seconds."""

    check: Check
    findings: list[Finding]
    seconds: float
    printed: str = ""
    warned: tuple[str, ...] = ()


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeLimit in the block after so many seconds, where signals allow it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeLimit(f"did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(check: Check, found: Callable[..., Finding], seconds: float) -> Outcome:
    """One check with everything that may go wrong in it caught and named. A warning is kept, and is
    no failure, not even where the interpreter was told to make errors of them."""
    start, findings = time.perf_counter(), []
    out, warned = io.StringIO(), list[str]()

    def finding(**rest: Any) -> Finding:
        return found(leg=check.family, case=check.name, **rest)

    try:
        with contextlib.redirect_stdout(out), limited(seconds), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda text, *_, **__: warned.append(str(text))
            for item in check.run():
                findings.append(item if isinstance(item, Finding) else finding(**item))
    except NotRun as reason:
        findings.append(finding(what="", skipped=str(reason)))
    except TimeLimit as error:
        findings.append(finding(what="time", message=str(error)))
    except AssertionError as error:
        findings.append(finding(what="", message=str(error) or "failed"))
    except Exception as error:
        text = " ".join(str(error).split())
        findings.append(finding(what="", message=f"raises {type(error).__name__}: {text[:300]}"))
    texts = tuple(dict.fromkeys(warned))
    return Outcome(check, findings, time.perf_counter() - start, out.getvalue(), texts)
