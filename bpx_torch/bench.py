"""bpx_torch beside torch's own operations, for `python -m bpx bench`."""

import inspect
from functools import partial

import torch

from bpx import _inputs, rule
from bpx._timing import Candidate, Prepared, Saved
from bpx_torch import OPTIMIZERS, RULES
from bpx_torch.oracles import OPTIMIZERS as OWN_OPTIMIZERS
from bpx_torch.oracles import ORACLES

NAME = "torch"
RULE_NAMES = tuple(RULES)
OPTIMIZER_NAMES = tuple(OPTIMIZERS)


class Bench:
    """Makes the candidates: forward and `torch.autograd.grad` of the floating inputs, eager."""

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = torch.device(device)
        torch.empty(0, device=self.device)  # a device that is not there raises now
        if threads is not None:
            torch.set_num_threads(threads)

    def about(self) -> dict:
        """What the figures belong to."""
        about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            about["device"] = torch.cuda.get_device_name(self.device)
        return about

    def prepare(self, name: str, row: dict[str, int], dtype: str, seed: int = 0) -> Prepared:
        """The candidates for one entry at the sizes of one bench row."""
        chosen = RULES[name]
        given, dy = _inputs.draw(chosen.spec, row, seed)
        arrays = tuple(None if a is None else self._tensor(a, dtype) for a in given.values())
        for a, want in zip(arrays, _inputs.wanted(chosen.spec), strict=True):
            if a is not None and want:
                a.requires_grad_()
        dy = self._tensor(dy, dtype)
        options, dims = chosen.bind(tuple(None if a is None else a.shape for a in arrays), {})
        candidates, refused, default = {}, {}, ""
        if (own := ORACLES.get(name)) is not None:
            candidates["own"] = self._candidate(lambda: own(*arrays, **options), arrays, dy)
        for kernel in chosen.kernels:
            if (reason := kernel.refuses(arrays, dims)) is not None:
                refused[kernel.name] = reason
                continue
            forward = _under(kernel.name if default else None, chosen, arrays)
            default = default or kernel.name
            candidates[kernel.name] = self._candidate(forward, arrays, dy)
        return Prepared(candidates, default, refused)

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
            return torch.autograd.grad(forward(), wrt, dy)

        return Candidate(self._finished(run), saved_bytes(forward, arrays))

    def _finished(self, run):
        if self.device.type != "cuda":
            return run

        def finished():
            run()
            torch.cuda.synchronize(self.device)

        return finished


def _under(kernel, chosen, arrays):
    """The call a user makes, or the same under `use` for a kernel that is not the default."""
    if kernel is None:
        return lambda: chosen(*arrays)

    def forward():
        with rule.use(kernel):
            return chosen(*arrays)

    return forward


def saved_bytes(forward, arrays) -> Saved:
    """Bytes of the storages that autograd keeps for backward, each once; those that are storages of
    the arguments apart. A saved output counts as made."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = forward()
    given = {a.untyped_storage().data_ptr() for a in arrays if a is not None}
    found = Saved(
        made=sum(s.nbytes() for at, s in kept.items() if at not in given),
        arguments=sum(s.nbytes() for at, s in kept.items() if at in given),
    )
    del y
    return found
