"""What `python -m bpx bench` measures: entries at their sizes, optimizers, names of torch.nn, whole
training steps, what health adds to them, and one size or the threads growing."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import bpx
from bpx import _bench_health, _bench_huge
from bpx import bench_rows as rows
from bpx._timing import Prepared, rounds, spread
from bpx.bench_faces import FACES, LIMITS

Row = dict[str, Any]

# One step of a demo's network, and of a small Llama that bpx_torch.convert was run on.
MODELS = tuple(f"train_{m}" for m in ("mlp", "cnn", "rnn", "transformer", "gan", "llama"))
TORCH_ONLY = ("train_llama",)
HEALTH = "health"  # ten steps of an MLP, one of them sampled

# What an optimizer steps over: many small tensors, where calls cost; large ones, where memory does.
PARAMETERS: dict[str, list[tuple[int, ...]]] = {
    "small": [(32, 16), (32,)] * 50,
    "large": [(1024, 1024), (1024,)] * 8,
}
STEP_LIMIT, MODEL_LIMIT = 1.1, 1.05
MATRICES = frozenset({"muon"})  # torch.optim's takes nothing else

Job = Callable[[], Row]


def jobs(module: Any, bench: Any, args: argparse.Namespace) -> list[Job]:
    """One measurement each, in the order of the entries."""
    side = ("torch", "jax").index(module.NAME)
    made: list[Job] = []

    def add(row: Row, prepare: Callable[[], Prepared], limit: float | None) -> None:
        row = {"framework": module.NAME, "dtype": args.dtype, **row, "limit": limit}
        made.append(lambda: measure(row, prepare, args.repeat, args.seconds))

    def asked(name: str, known: tuple[str, ...]) -> bool:
        return name in known and (not args.names or name in args.names)

    for op in bpx.ALL:
        if not asked(op.name, module.RULE_NAMES):
            continue
        for label, dims in op.bench.items():
            if label in args.size:
                limit = {**rows.LIMITS, **op.limits}[label][side]
                add(_row(op.name, label, dims), _entry(bench, op.name, dims, args), limit)
        huge = _bench_huge.huge(op) if op.name in module.GPU_NAMES else None
        if huge is not None and _bench_huge.LABEL in args.size:
            for dims in huge.of(args.dtype):
                prepare = partial(bench.prepare_huge, op.name, dims, args.dtype, args.seed)
                add(_row(op.name, _bench_huge.LABEL, dims), prepare, huge.limit)
        for dim, grown in scaling(op.name) if args.scaling else ():
            for dims in grown:
                row = _row(op.name, f"{dim} grows", dims)
                add(row, _entry(bench, op.name, dims, args), None)
    for o in bpx.OPTIMIZERS:
        for label, given in PARAMETERS.items():
            if label in args.size and asked(o.name, module.OPTIMIZER_NAMES):
                shapes = [s for s in given if len(s) == 2 or o.name not in MATRICES]
                dims = {"tensors": len(shapes), "elements": sum(map(math.prod, shapes))}
                add(_row(o.name, label, dims), _optimizer(bench, o.name, shapes, args), STEP_LIMIT)
        if _bench_huge.LABEL in args.size and asked(o.name, module.GPU_STEPS):
            dims = {"N": _bench_huge.ELEMENTS}
            prepare = partial(bench.prepare_huge_step, o.name, dims, args.dtype, args.seed)
            add(_row(o.name, _bench_huge.LABEL, dims), prepare, _bench_huge.STEP_LIMIT)
    for name, calls in FACES.items():
        if asked(name, tuple(FACES)) and (module.NAME, args.device) == ("torch", "cpu"):
            for label, call in calls.items():
                if label in args.size:
                    row = {**_row(name, label, {}), "size": call.size()}
                    add(row, partial(_face, name, label, args), LIMITS[label])
    for name in MODELS:
        if asked(name, MODELS) and args.device == "cpu" and "typical" in args.size:
            if name not in TORCH_ONLY or module.NAME == "torch":
                add(_row(name, "typical", {}), _model(module, name, args), MODEL_LIMIT)
    for label, dims in _bench_health.SIZES.items():
        if label in args.size and asked(HEALTH, (HEALTH,)) and args.device == "cpu":
            most = None if label == "small" else STEP_LIMIT
            add(_row(HEALTH, label, dims), _health(module, dims, args), most)
    if args.scaling and hasattr(bench, "threads_grow"):
        for threads in sorted({1, 2, 4, os.cpu_count() or 1}):
            name, dims = rows.THREADS
            if asked(name, module.RULE_NAMES):
                row = _row(name, "threads grow", {**dims, "threads": threads})
                add(row, partial(bench.threads_grow, name, dims, threads, args.dtype), None)
    return made


def scaling(name: str) -> Iterator[tuple[str, list[rows.Row]]]:
    """(the dim, the rows in which it grows) for the plots of one entry."""
    for entry, dim, values, row in rows.SCALING:
        if entry == name:
            follows = rows.FOLLOWS.get((entry, dim), ())
            yield dim, [{**row, dim: v, **dict.fromkeys(follows, v)} for v in values]


def _entry(bench: Any, name: str, dims: rows.Row, args: Any) -> Callable[[], Prepared]:
    return lambda: bench.prepare(name, dims, args.dtype, args.seed, compiled=args.compile)


def _optimizer(bench: Any, name: str, shapes: Any, args: Any) -> Callable[[], Prepared]:
    return lambda: bench.prepare_optimizer(name, shapes, args.dtype, args.seed)


def _model(module: Any, name: str, args: Any) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        models = importlib.import_module(f"bpx_{module.NAME}._bench_models")
        found: Prepared = models.prepare(name, args.dtype, args.seed)
        return found

    return prepare


def _face(name: str, label: str, args: Any) -> Prepared:
    faces = importlib.import_module("bpx_torch._bench_faces")
    found: Prepared = faces.prepare(name, label, args.dtype, args.seed)
    return found


def _health(module: Any, dims: rows.Row, args: Any) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        mlp = importlib.import_module(f"bpx_{module.NAME}._bench_health")
        found: Prepared = mlp.prepare(dims, args.dtype, args.seed)
        return found

    return prepare


def _row(name: str, label: str, dims: rows.Row) -> Row:
    shown = " x ".join(f"{k} {_shown(v)}" for k, v in dims.items())
    return {"entry": name, "label": label, "dims": dict(dims), "size": shown}


def _shown(size: Any) -> str:
    if isinstance(size, tuple):
        return "·".join(map(str, size))
    return str(size) if isinstance(size, bool) else f"{size:,}"


def measure(about: Row, prepare: Callable[[], Prepared], repeat: int, seconds: float) -> Row:
    """One row of the report. Times are medians in seconds per call."""
    row: Row = {**about, "candidates": [], "failed": {}, "refused": {}}
    try:
        prepared = prepare()
        times = rounds(prepared.candidates, min(repeat, prepared.repeat or repeat), seconds)
    except Exception as error:
        row["failed"]["comparison"] = f"{type(error).__name__}: {line(error)}"
        return row
    row.update(prepared.facts, refused=dict(prepared.refused), failed=dict(prepared.failed))
    for label, candidate in prepared.candidates.items():
        row["candidates"].append(
            {
                "name": label,
                "default": label == prepared.default,
                "beside": candidate.beside,
                **figures(label, candidate.beside, times),
                "saved": None if candidate.saved is None else asdict(candidate.saved),
                "peak": candidate.peak,
            }
        )
    return row


def figures(label: str, beside: str, times: Mapping[str, list[float]]) -> Row:
    """What the rounds of a candidate come to; its ratio is to `beside`, in the same rounds."""
    own, its = times.get(beside), times[label]
    ratio = None if own is None else spread([a / b for a, b in zip(its, own, strict=True)])
    return {
        "seconds": statistics.median(its),
        "rounds": len(its),
        "ratio": None if ratio is None else asdict(ratio),
        "times": its,
    }


def line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
