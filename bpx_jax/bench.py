"""bpx_jax beside autodiff of JAX's own operations, for `python -m bpx bench`."""

import contextlib
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bpx import _bench_huge, _inputs, rule
from bpx._timing import Candidate, Prepared, Saved
from bpx.spec import SpecError
from bpx_jax import OPTIMIZERS, RULES, _bench_gpu, optim
from bpx_jax._bench_gpu import peak_bytes
from bpx_jax.oracles import ORACLES, RECOMPUTED, own_optimizers

NAME = "jax"
RULE_NAMES = tuple(RULES)
OPTIMIZER_NAMES = tuple(OPTIMIZERS)
GPU_NAMES = tuple(n for n, r in RULES.items() if _bench_huge.huge(r.spec) is not None)
GPU_STEPS = ()
LEARNING_RATE = 1e-3


class Bench:
    """Makes the candidates: forward and `jax.vjp` in one `jax.jit`, on both sides."""

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = jax.devices(device)[0]  # a device that is not there raises now
        self.threads = threads  # XLA takes NPROC when it starts: the caller has set it

    def about(self) -> dict:
        """What the figures belong to."""
        about = {"jax": jax.__version__, "threads": self.threads}
        if self.device.platform != "cpu":
            about["device"] = self.device.device_kind
        return about

    def prepare(self, name, row, dtype, seed=0, *, compiled=False) -> Prepared:
        """The candidates for one entry at the sizes of one bench row; all are compiled."""
        chosen = RULES[name]
        given, dy = _inputs.draw(chosen.spec, row, seed)
        arrays = tuple(None if a is None else self._array(a, dtype) for a in given.values())
        dy = self._array(dy, dtype)
        wrt = tuple(
            i
            for i, want in enumerate(_inputs.wanted(chosen.spec))
            if want and arrays[i] is not None
        )
        asked = {k: v for k, v in row.items() if k in chosen.spec.options}
        options, dims = chosen.bind(tuple(None if a is None else a.shape for a in arrays), asked)
        candidates, refused, default = {}, {}, ""
        if (own := ORACLES.get(name)) is not None:
            candidates["own"] = _candidate(partial(own, **options), arrays, wrt, dy, None)
        beside = "own"
        if (again := RECOMPUTED.get(name)) is not None:
            beside = "own, recomputed"
            found = _candidate(partial(again, **options), arrays, wrt, dy, None)
            candidates[beside] = replace(found, beside=beside)
        for kernel in chosen.kernels:
            if (reason := kernel.refuses(arrays, {**dims, **options})) is not None:
                refused[kernel.name] = reason
                continue
            default = default or kernel.name
            of_row = partial(chosen, **asked)
            found = _candidate(of_row, arrays, wrt, dy, kernel.name)
            candidates[kernel.name] = replace(found, beside=beside)
        return Prepared(candidates, default, refused)

    def prepare_huge(self, name, row, dtype, seed=0) -> Prepared:
        """The candidates for one entry at a size that fills a GPU."""
        return _bench_gpu.prepare(name, row, dtype, seed, self.device)

    def prepare_optimizer(
        self, name: str, shapes: list[tuple[int, ...]], dtype: str, seed: int = 0
    ) -> Prepared:
        """One update applied to parameters of these shapes, buffers donated, default options; where
        ours can move parameters itself, "bpx, stepping" does, and "bpx, packed" steps them as one
        vector."""
        own = own_optimizers()
        makers = {"own": own[name]} if name in own else {}
        makers["bpx"] = OPTIMIZERS[name]
        candidates = {}
        for label, make in makers.items():
            pairs = _inputs.params(shapes, seed)
            params = [self._array(p, dtype) for p, _ in pairs]
            grads = [self._array(g, dtype) for _, g in pairs]
            tx = make(LEARNING_RATE)
            candidates[label] = Candidate(_stepping(_applied(tx), params, grads, tx))
            if label == "bpx" and hasattr(tx.update, "move"):
                copies = [jnp.array(p) for p in params]
                run = _stepping(optim.stepping(tx), copies, grads, tx)
                candidates["bpx, stepping"] = Candidate(run)
            if label == "bpx":
                held, slopes = optim.pack(params), optim.pack(grads)
                with contextlib.suppress(SpecError):  # a rule that looks at arrays as a whole
                    run = _stepping(optim.stepping(tx), held, slopes, tx)
                    candidates["bpx, packed"] = Candidate(run)
        return Prepared(candidates, "bpx")

    def _array(self, a, dtype):
        if dtype == "float64" and not jax.config.jax_enable_x64:
            jax.config.update("jax_enable_x64", True)  # without it float64 is silently float32
        a = np.asarray(a)
        kinds = {"f": jnp.dtype(dtype), "i": np.dtype(np.int32)}
        a = a.astype(kinds.get(a.dtype.kind, a.dtype))
        return jax.device_put(a, self.device)


def _candidate(f, arrays, wrt, dy, kernel):
    def of_floats(arrays):
        def g(*floats):
            full = list(arrays)
            for i, a in zip(wrt, floats, strict=True):
                full[i] = a
            return f(*full)

        return g, [arrays[i] for i in wrt]

    @jax.jit
    def both(dy, *arrays):
        g, floats = of_floats(arrays)
        y, back = jax.vjp(g, *floats)
        return y, back(dy)

    with rule.use(kernel):  # a compiled function keeps the kernel it was compiled with
        compiled = both.lower(dy, *arrays).compile()
        g, floats = of_floats(arrays)
        saved = saved_bytes(g, floats, arrays)
    run = lambda: jax.block_until_ready(both(dy, *arrays))  # noqa: E731
    with rule.use(kernel):
        run()
    return Candidate(run, saved, peak_bytes(compiled))


def _applied(tx):
    def step(grads, state, params):
        moved, state = tx.update(grads, state, params)
        return jax.tree.map(jnp.add, params, moved), state

    return step


def _stepping(move, params, grads, tx):
    step = jax.jit(lambda params, state: move(grads, state, params), donate_argnums=(0, 1))
    carried = [params, tx.init(params)]

    def run():
        carried[:] = jax.block_until_ready(step(*carried))

    return run


def saved_bytes(f, floats, arrays) -> Saved:
    """Bytes of the leaves of the function that `jax.vjp` returns, equal leaves once; those equal to
    an argument apart (JAX copies some). A leaf that holds one value only is a constant, which XLA
    folds, and is not counted. What XLA keeps when forward and backward are one program can be less.
    """
    given = {_bytes(a) for a in arrays if a is not None}
    _, back = jax.vjp(f, *floats)
    leaves = {_bytes(leaf): leaf for leaf in jax.tree.leaves(back) if hasattr(leaf, "nbytes")}
    made = sum(
        leaf.nbytes for key, leaf in leaves.items() if key not in given and not _constant(leaf)
    )
    return Saved(made, sum(leaf.nbytes for key, leaf in leaves.items() if key in given))


def _bytes(a):
    a = np.asarray(a)
    return a.shape, str(a.dtype), a.tobytes()


def _constant(a):
    a = np.asarray(a).reshape(-1)
    return bool((a == a[:1]).all())
