"""bpx_torch beside torch's own operations, for `python -m bpx bench`."""

import contextlib
import importlib
import inspect
import os
from dataclasses import replace
from functools import partial

import torch

from bpx import _bench_huge, _inputs, rule
from bpx._timing import Candidate, Prepared, Saved
from bpx_torch import OPTIMIZERS, RULES, _bench_gpu, _node
from bpx_torch.oracles import OPTIMIZERS as OWN_OPTIMIZERS
from bpx_torch.oracles import ORACLES, RECOMPUTED

NAME = "torch"
RULE_NAMES = tuple(RULES)
OPTIMIZER_NAMES = tuple(OPTIMIZERS)
GPU_NAMES = tuple(n for n, r in RULES.items() if any(k.name == "triton" for k in r.kernels))

GPU_STEPS = tuple(_bench_huge.STEPS)


class Bench:
    """Makes the candidates: forward and `torch.autograd.grad` of the floating inputs, eager."""

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = torch.device(device)
        torch.empty(0, device=self.device)  # a device that is not there raises now
        if threads is not None:
            torch.set_num_threads(threads)
        _node.build()  # what a loop runs from its third call on, and no compiler beside the timing

    def about(self) -> dict:
        """What the figures belong to."""
        about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            about["device"] = torch.cuda.get_device_name(self.device)
            about["cuda"] = torch.version.cuda
            with contextlib.suppress(ImportError):
                about["triton"] = importlib.import_module("triton").__version__
        return about

    def prepare(self, name, row, dtype, seed=0, *, compiled=False) -> Prepared:
        """The candidates for one entry at the sizes of one bench row; `compiled` adds torch's own
        operation under torch.compile."""
        chosen = RULES[name]
        given, dy = _inputs.draw(chosen.spec, row, seed)
        arrays = tuple(None if a is None else self._tensor(a, dtype) for a in given.values())
        for a, want in zip(arrays, _inputs.wanted(chosen.spec), strict=True):
            if a is not None and want and a.is_floating_point():
                a.requires_grad_()
        dy = self._tensor(dy, dtype)
        asked = {k: v for k, v in row.items() if k in chosen.spec.options}
        shapes = tuple(None if a is None else a.shape for a in arrays)
        options, dims = chosen.bind(shapes, asked)
        candidates, refused, default = {}, {}, ""
        if (own := ORACLES.get(name)) is not None:
            candidates["own"] = self._candidate(lambda: own(*arrays, **options), arrays, dy)
            if compiled:
                fused = torch.compile(own, dynamic=False)
                call = lambda: fused(*arrays, **options)  # noqa: E731
                candidates["own, compiled"] = self._candidate(call, arrays, dy)
        beside = "own"
        if (again := RECOMPUTED.get(name)) is not None:
            beside = "own, recomputed"
            call = partial(again, *arrays, **options)
            candidates[beside] = replace(self._candidate(call, arrays, dy), beside=beside)
        for kernel in chosen.kernels:
            if (reason := kernel.refuses(arrays, dims)) is not None:
                refused[kernel.name] = reason
                continue
            forward = _under(kernel.name if default else None, chosen, arrays, asked)
            default = default or kernel.name
            candidate = self._candidate(forward, arrays, dy)
            candidates[kernel.name] = replace(candidate, beside=beside)
        return Prepared(candidates, default, refused)

    def prepare_huge(self, name, row, dtype, seed=0) -> Prepared:
        """The candidates for one entry at a size that fills a GPU."""
        return _bench_gpu.prepare(name, row, dtype, seed, self.device)

    def prepare_huge_step(self, name, row, dtype, seed=0) -> Prepared:
        """The candidates for a step of an optimizer over a parameter that fills a GPU."""
        return _bench_gpu.prepare_step(name, row, dtype, seed, self.device)

    def threads_grow(self, name, row, threads, dtype) -> Prepared:
        """The candidates at a number of threads, which each sets for itself."""
        before = torch.get_num_threads()
        prepared = self.prepare(name, row, dtype)

        def at(run):
            def timed():
                torch.set_num_threads(threads)
                try:
                    return run()
                finally:
                    torch.set_num_threads(before)

            return timed

        candidates = {k: replace(c, run=at(c.run)) for k, c in prepared.candidates.items()}
        return replace(prepared, candidates=candidates)

    def prepare_optimizer(
        self, name: str, shapes: list[tuple[int, ...]], dtype: str, seed: int = 0
    ) -> Prepared:
        """One step over parameters of these shapes, default options; where `foreach` is not the
        default also with it. The ratio of "bpx" is to torch's default, "own", that of
        "bpx, foreach" to torch's foreach."""
        makers = {**OWN_OPTIMIZERS[name], "bpx": OPTIMIZERS[name]}
        if "foreach" in inspect.signature(makers["bpx"]).parameters and self.device.type == "cpu":
            lists = {
                f"{k}, foreach": partial(makers[k], foreach=True)
                for k in ("own", "bpx")
                if k in makers
            }
            makers = {**makers, **lists}
        candidates = {}
        for label, make in makers.items():
            params = [
                torch.nn.Parameter(self._tensor(p, dtype)) for p, _ in _inputs.params(shapes, seed)
            ]
            for p, (_, g) in zip(params, _inputs.params(shapes, seed), strict=True):
                p.grad = self._tensor(g, dtype)
            beside = "own, foreach" if label.endswith(", foreach") else "own"
            candidates[label] = Candidate(self._finished(make(params).step), beside=beside)
        return Prepared(candidates, "bpx")

    def _tensor(self, a, dtype):
        a = torch.from_numpy(a)
        return a.to(self.device, getattr(torch, dtype) if a.is_floating_point() else None)

    def _candidate(self, forward, arrays, dy):
        wrt = [a for a in arrays if a is not None and a.requires_grad]

        def run():
            return torch.autograd.grad(forward(), wrt, dy, allow_unused=True)

        peak = peak_bytes(run) if self.device.type == "cpu" else None
        return Candidate(self._finished(run), saved_bytes(forward, arrays), peak)

    def _finished(self, run):
        if self.device.type != "cuda":
            return run

        def finished():
            run()
            torch.cuda.synchronize(self.device)

        return finished


def _under(kernel, chosen, arrays, options):
    """The call a user makes, or the same under `use` for a kernel that is not the default."""
    if kernel is None:
        return lambda: chosen(*arrays, **options)

    def forward():
        with rule.use(kernel):
            return chosen(*arrays, **options)

    return forward


def saved_bytes(forward, arrays) -> Saved:
    """Bytes of the storages that autograd keeps for backward, each once; those that are storages of
    the arguments apart. A saved output counts as made."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t.detach()  # a saved output that were itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = forward()
    given = {a.untyped_storage().data_ptr() for a in arrays if a is not None}
    found = Saved(
        made=sum(s.nbytes() for at, s in kept.items() if at not in given),
        arguments=sum(s.nbytes() for at, s in kept.items() if at in given),
    )
    del y
    return found


def peak_bytes(run) -> int:
    """The most bytes that torch has allocated at once within `run`, the result included. A kernel's
    own scratch memory is not torch's."""
    run()
    activities = [torch.profiler.ProfilerActivity.CPU]
    how = {"profile_memory": True, "acc_events": True}  # or torch 2.11 warns of cycles
    with _silent(), torch.profiler.profile(activities=activities, **how) as profile:
        result = run()
    now = most = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del result
    return most


@contextlib.contextmanager
def _silent():
    """Without the lines that some builds of the profiler write to the error stream from C++."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
