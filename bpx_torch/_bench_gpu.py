"""The rows of `python -m bpx bench` that fill a GPU: inputs drawn on it, times by its own clock,
memory by torch's allocator.

Calls are queued while the GPU sleeps, so Python's time is hidden as it is in training.
"""

import functools
import gc
import math
import statistics
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from bpx import _bench_huge, _inputs, rule
from bpx import dims as dim
from bpx._bench_jobs import line
from bpx._timing import Candidate, Prepared
from bpx_torch import OPTIMIZERS, RULES, _bench_liger, functional
from bpx_torch.oracles import OPTIMIZERS as OWN_OPTIMIZERS
from bpx_torch.oracles import ORACLES

SLEEP, LONGEST = 2_000_000, 32_000_000  # cycles, about 1 and 16 ms: meanwhile calls are queued
ROUNDS, FEW = 7, 3
SLOW = 20e-3  # seconds of a call from which on few rounds do
COPIED = 2**30  # bytes
AWAKE = 200  # copies, until an idle GPU runs at its full clock


def _rope(x, cos, sin, *, interleaved=False):
    """As models compose it: torch has no complex numbers of 16 bits."""
    a, b = x.chunk(2, -1)
    cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def _linear_cross_entropy(x, weight, target, *_, **options):
    return F.cross_entropy(F.linear(x, weight), target)


def _attention(query, key, value, *_, causal, **options):
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)


# where ORACLES has more work in it than a user of torch would give to it
OWN: dict[str, Any] = {
    "rope": _rope,
    "attention": _attention,
    "linear_cross_entropy": _linear_cross_entropy,
    "dropout": lambda x, bits, *, p, broadcast_dims: F.dropout(x, p),  # draws its mask
}
OURS: dict[str, Any] = {
    "dropout": lambda x, bits, **options: functional.dropout(x, 0.5)
}  # as this does


def clock(run, calls):
    """Seconds per call on the GPU, which sleeps until all of them are queued."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    asleep = SLEEP
    while True:
        torch.cuda._sleep(asleep)
        start.record()
        for _ in range(calls):
            run()
        awake = start.query()
        end.record()
        torch.cuda.synchronize()
        if not awake or asleep >= LONGEST:  # a call may itself wait for the GPU
            return start.elapsed_time(end) / 1e3 / calls
        asleep *= 4


def peak(run):
    """(the most bytes that torch had allocated at once beside what it had before, seconds)."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    seconds = clock(run, 1)
    return torch.cuda.max_memory_allocated() - before, seconds


def release():
    """Give back what the row before has used."""
    gc.collect()
    torch.cuda.empty_cache()


@functools.cache
def copy_speed(device):
    """Bytes per second, read and written, of a copy on the device."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = partial(target.copy_, source)
    for _ in range(AWAKE):
        copy()
    return 2 * COPIED / statistics.median(clock(copy, 2) for _ in range(ROUNDS))


def draw(spec, row, about, dtype, device, seed):
    """(arguments, dy), of the distributions of `bpx._inputs` but in the numbers of the device."""
    numbers = torch.Generator(device).manual_seed(seed)
    sizes = _inputs.sizes(spec, row)
    here = _bench_huge.given(spec, row, about)
    scale = _inputs.SCALE.get(spec.name, {})
    arrays = tuple(
        _array(arg, sizes, dtype, numbers, scale.get(arg.name, 1)) if there else None
        for arg, there in zip(spec.args, here, strict=True)
    )
    options = _inputs.options(spec, row)
    met = spec.bind(tuple(None if a is None else tuple(a.shape) for a in arrays), options)
    shape = dim.shape(spec.out_dims(options), met)
    return arrays, torch.randn(shape, dtype=dtype, device=device, generator=numbers)


def _array(arg, sizes, dtype, numbers, scale):
    shape, known = dim.shape(arg.dims, sizes), {"device": numbers.device, "generator": numbers}
    if arg.below is not None:
        return torch.randint(sizes[arg.below], shape, **known)
    if arg.kind != "float":
        high, kind = {
            "bits": (256, torch.uint8), "mask": (2, torch.bool), "key": (2**32, torch.uint32)
        }[arg.kind]  # fmt: skip
        if arg.kind == "bits":
            return torch.randint(high, shape, dtype=kind, **known)
        return torch.randint(high, shape, **known).to(kind)
    low, high = arg.domain or (-math.inf, math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return torch.rand(shape, dtype=dtype, **known).mul_(high - low).add_(low)
    x = torch.randn(shape, dtype=dtype, **known)
    if arg.domain is not None:
        return low + x.abs_() if math.isfinite(low) else high - x.abs_()
    return x if scale == 1 else x.mul_(scale)


def prepare(name, row, dtype, seed, device) -> Prepared:
    """The entry beside torch's own operation; one that raises is left out, with its reason."""
    if device.index is not None:
        torch.cuda.set_device(device)
    release()
    chosen, dtype = RULES[name], getattr(torch, dtype)
    about = _bench_huge.huge(chosen.spec)
    if about is None:
        raise TypeError(f"{name} has no sizes that fill a GPU")
    speed = None if about.products else copy_speed(device)
    arrays, dy = draw(chosen.spec, row, about, dtype, device, seed)
    for a, want in zip(arrays, _bench_huge.wanted(chosen.spec, about), strict=True):
        if a is not None and want:
            a.requires_grad_()
    asked = {k: v for k, v in row.items() if k in chosen.spec.options}
    options, dims = chosen.bind(tuple(None if a is None else a.shape for a in arrays), asked)
    default = chosen.kernels[rule.choose(chosen, arrays, dims)].name
    own, ours = OWN.get(name, ORACLES.get(name)), OURS.get(name, chosen)
    wrt = [a for a in arrays if a is not None and a.requires_grad]
    jobs = {} if own is None else {"own": lambda: (partial(own, *arrays, **options), wrt, dy)}
    jobs[default] = lambda: (partial(ours, *arrays, **asked), wrt, dy)
    jobs["liger"] = partial(_bench_liger.candidate, name, arrays, dy)
    facts = {
        "arguments": sum(a.nbytes for a in (*arrays, dy) if a is not None),
        "bytes": None,
        "copy": speed,
    }
    if not about.products:
        facts["bytes"] = _bench_huge.moved(chosen.spec, row, about, dtype.itemsize)
    return _prepared({k: partial(_passes, job) for k, job in jobs.items()}, default, facts)


def prepare_step(name, row, dtype, seed, device) -> Prepared:
    """A step of an optimizer over one parameter, beside torch's fused one."""
    if device.index is not None:
        torch.cuda.set_device(device)
    release()
    dtype, n = getattr(torch, dtype), row["N"]
    facts = {"arguments": 2 * n * dtype.itemsize, "copy": copy_speed(device)}
    facts["bytes"] = _bench_huge.stepped(name, n, dtype.itemsize)
    numbers = torch.Generator(device).manual_seed(seed)
    jobs = {}
    makers = {"own": partial(OWN_OPTIMIZERS[name]["own"], fused=True), "triton": OPTIMIZERS[name]}
    for label, make in makers.items():
        p, g = (torch.randn(n, dtype=dtype, device=device, generator=numbers) for _ in "pg")
        p = torch.nn.Parameter(p)
        p.grad = g
        jobs[label] = partial(_step, make, p)
    return _prepared(jobs, "triton", facts)


def _passes(job):
    made = job()
    return None if made is None else partial(_both, *made)


def _step(make, p):
    return make([p], lr=1e-3).step


def _prepared(jobs, default, facts):
    candidates, failed, longest = {}, {}, 0.0
    for label, job in jobs.items():
        try:
            if (run := job()) is None:
                continue
            run()  # compiles
            used, seconds = peak(run)
        except Exception as error:
            failed[label] = f"{type(error).__name__}: {line(error)}"
            continue
        longest = max(longest, seconds)
        calls = 1 if seconds > SLOW else 2
        candidates[label] = Candidate(run, peak=used, clock=clock, calls=calls)
    rounds = FEW if longest > SLOW else ROUNDS
    return Prepared(candidates, default, failed=failed, repeat=rounds, facts=facts)


def _both(forward, wrt, dy):
    return torch.autograd.grad(forward(), wrt, dy, allow_unused=True)
