"""The rows of `python -m bpx bench` that fill a GPU: inputs drawn on it, calls queued, memory as
XLA assigned it.

Forward and backward are one program, as in training, and what stands between them there is a
barrier here: without it XLA would fuse backward's reading into forward's, which no model lets it.
"""

import functools
import gc
import math
import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bpx import _bench_huge, _inputs, rule
from bpx import dims as dim
from bpx._bench_jobs import line
from bpx._timing import Candidate, Prepared
from bpx_jax import RULES, nn
from bpx_jax.oracles import ORACLES

ROUNDS, FEW = 7, 3
SLOW = 20e-3  # seconds of a call from which on few rounds do
QUEUED = 30e-3  # seconds of calls that are queued, beside which Python's start does not show
MOST = 20  # of them
COPIED = 2**30  # bytes
AWAKE = 200  # copies, until an idle GPU runs at its full clock


def _dropout(x, key, *, p):
    keep = jax.random.bernoulli(key, 1 - p, x.shape)
    return jnp.where(keep, x / (1 - p), jnp.zeros_like(x))


def _attention(query, key, value, *_, causal, **options):
    """cuDNN's where it takes the type, which is what JAX ships for it."""
    heads_inside = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))
    fast = "cudnn" if query.dtype.itemsize == 2 else "xla"
    y = jax.nn.dot_product_attention(*heads_inside, is_causal=causal, implementation=fast)
    return jnp.swapaxes(y, 1, 2)


def _key(arrays, seed):
    """dropout's bits are drawn within the call: a key stands in for them."""
    return arrays[0], jax.random.key(seed)


# where ORACLES has more work in it than a user of JAX would give to it; both draw their mask
OWN: dict[str, Any] = {
    "attention": _attention,
    "dropout": lambda x, key, *, p, broadcast_dims: _dropout(x, key, p=p),
}
OURS: dict[str, Any] = {"dropout": lambda x, key, **options: nn.dropout(x, key, 0.5)}
DRAWN: dict[str, Any] = {"dropout": _key}


def clock(run, calls):
    """Seconds per call, queued one behind the other. A result is dropped when the next is there, so
    two are held."""
    start = time.perf_counter()
    for _ in range(calls):
        result = run()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def calls_of(seconds):
    """How many calls are queued, of one that takes this long."""
    return max(1, min(MOST, math.ceil(QUEUED / max(seconds, 1e-9))))


@functools.cache
def copy_speed(device):
    """Bytes per second, read and written, of a copy on the device."""
    source = jax.device_put(jnp.zeros(COPIED // 4, jnp.float32), device)
    copy = partial(jax.jit(jnp.copy), source)
    clock(copy, AWAKE)
    return 2 * COPIED / statistics.median(clock(copy, MOST) for _ in range(ROUNDS))


def draw(spec, row, about, dtype, seed):
    """(arrays, dy), of the distributions of `bpx._inputs` but in the numbers of the device."""
    sizes = _inputs.sizes(spec, row)
    here = _bench_huge.given(spec, row, about)
    *keys, last = jax.random.split(jax.random.key(seed), len(spec.args) + 1)
    scale = _inputs.SCALE.get(spec.name, {})
    arrays = tuple(
        _array(arg, sizes, dtype, key, scale.get(arg.name, 1)) if there else None
        for arg, there, key in zip(spec.args, here, keys, strict=True)
    )
    options = _inputs.options(spec, row)
    met = spec.bind(tuple(None if a is None else a.shape for a in arrays), options)
    return arrays, _normal(last, dim.shape(spec.out_dims(options), met), dtype)


_normal = jax.jit(jax.random.normal, static_argnums=(1, 2))


def _array(arg, sizes, dtype, key, scale):
    shape = dim.shape(arg.dims, sizes)
    if arg.below is not None:
        return jax.random.randint(key, shape, 0, sizes[arg.below])
    if arg.kind == "bits":
        return jax.random.bits(key, shape, jnp.uint8)
    if arg.kind == "mask":
        return jax.random.bernoulli(key, 0.5, shape)
    if arg.kind == "key":
        return jax.random.bits(key, shape, jnp.uint32)
    low, high = arg.domain or (-math.inf, math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return jax.random.uniform(key, shape, dtype, low, high)
    x = _normal(key, shape, dtype)
    if arg.domain is not None:
        return low + jnp.abs(x) if math.isfinite(low) else high - jnp.abs(x)
    return x if scale == 1 else x * scale


def prepare(name, row, dtype, seed, device) -> Prepared:
    """The entry beside JAX's own operation; one that raises is left out, with its reason."""
    gc.collect()  # what the row before has used
    chosen, dtype = RULES[name], jnp.dtype(dtype)
    about = _bench_huge.huge(chosen.spec)
    if about is None:
        raise TypeError(f"{name} has no sizes that fill a GPU")
    speed = None if about.products else copy_speed(device)
    with jax.default_device(device):
        arrays, dy = draw(chosen.spec, row, about, dtype, seed)
    asked = {k: v for k, v in row.items() if k in chosen.spec.options}
    options, dims = chosen.bind(tuple(None if a is None else a.shape for a in arrays), asked)
    default = chosen.kernels[rule.choose(chosen, arrays, dims)].name
    wanted = _bench_huge.wanted(chosen.spec, about)
    wrt = tuple(i for i, a in enumerate(arrays) if a is not None and wanted[i])
    if name in DRAWN:
        arrays = DRAWN[name](arrays, seed)
    own, ours = OWN.get(name, ORACLES.get(name)), OURS.get(name, chosen)
    forwards = {} if own is None else {"own": partial(own, **options)}
    forwards[default] = partial(ours, **asked)
    candidates, failed, longest = {}, {}, 0.0
    for label, forward in forwards.items():
        try:
            compiled = both(forward, wrt).lower(dy, *arrays).compile()
            run = partial(compiled, dy, *arrays)
            clock(run, 1)
            seconds = clock(run, 1)
        except Exception as error:
            failed[label] = f"{type(error).__name__}: {line(error)}"
            continue
        longest = max(longest, seconds)
        candidates[label] = Candidate(
            run, peak=peak_bytes(compiled), clock=clock, calls=calls_of(seconds)
        )
    facts = {
        "arguments": sum(a.nbytes for a in (*arrays, dy) if a is not None),
        "bytes": None,
        "copy": speed,
    }
    if not about.products:
        facts["bytes"] = _bench_huge.moved(chosen.spec, row, about, dtype.itemsize)
    rounds = FEW if longest > SLOW else ROUNDS
    return Prepared(candidates, default, failed=failed, repeat=rounds, facts=facts)


def both(forward, wrt):
    """Forward, then backward to the arrays at `wrt`, as one program."""

    @jax.jit
    def program(dy, *arrays):
        def of_floats(*floats):
            full = list(arrays)
            for i, a in zip(wrt, floats, strict=True):
                full[i] = a
            return forward(*full)

        y, back = jax.vjp(of_floats, *(arrays[i] for i in wrt))
        y, dy = jax.lax.optimization_barrier((y, dy))
        return y, back(dy)

    return program


def peak_bytes(compiled) -> int | None:
    """What XLA's buffer assignment holds beside the arguments: results and temporaries. A kernel's
    own scratch memory is not XLA's."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes
