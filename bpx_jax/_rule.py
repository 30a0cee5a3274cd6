"""A bpx rule as a jax.custom_vjp function. The call path is in bpx/rule.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bpx import rule
from bpx.spec import SpecError
from bpx_jax._seen_as import seen_as, seen_as_early, seen_as_once
from bpx_jax._sharding import varying_alike

KINDS = {
    "float": (jnp.floating, "a floating dtype"),
    "index": (jnp.integer, "an integer dtype"),
    "bits": (jnp.uint8, "uint8"),
    "mask": (jnp.bool_, "bool"),
    "key": (jnp.uint32, "uint32"),
}


class Rule(rule.Rule):
    """`trim` has, by the name of an argument or a residual, what backward reads of it where that
    may be less than all: f(value, *arrays, **options) -> what is kept in its place."""

    def __init__(self, spec, kernels, trim=None):
        self.trim = trim or {}
        super().__init__(spec, kernels)

    def with_plain(self, plain):
        return Rule(self.spec, (plain,), self.trim)

    def __call__(self, *arrays, **options):
        return self._call(arrays, options)[0]

    def with_residuals(self, *arrays, **options):
        """(y, residuals but "y"): what a face needs that keeps statistics. Residuals are constants:
        no gradient flows through them."""
        y, residuals = self._call(arrays, options)
        names = self.spec.residuals
        return y, tuple(
            jax.lax.stop_gradient(r) for n, r in zip(names, residuals, strict=True) if n != "y"
        )

    def _call(self, arrays, options):
        arrays = tuple(None if a is None else self._array(i, a) for i, a in enumerate(arrays))
        shapes = tuple(None if a is None else a.shape for a in arrays)
        options = {name: untraced(self.spec.name, name, v) for name, v in options.items()}
        options, dims = self.bind(shapes, options)
        self._check_indices(arrays, dims, options)
        arrays = varying_alike(self._narrow(arrays, dims, options))
        static = (tuple(options.values()), tuple(None if a is None else a.dtype for a in arrays))
        try:
            return self.runs[rule.choose(self, arrays, {**dims, **options})](static, *arrays)
        except TypeError as error:
            if "custom_vjp" not in str(error):
                raise
            if self.spec.surrogate:  # the plain forward has another derivative
                instead = "Hessian jax.jacrev of jax.grad"
            else:
                instead = (
                    "Hessian jax.jvp of jax.grad, or differentiate the plain forward: "
                    "RULE.forward(...)[0]"
                )
            raise TypeError(
                f"{self.spec.name}: forward mode (jax.jvp, jax.jacfwd, jax.linearize) of a "
                f"hand-written backward is not available in JAX; use jax.grad or jax.jacrev, for a "
                f"{instead}"
            ) from error

    def forward(self, *arrays, kernel: str = "plain", **options):
        """The pure forward: (y, residuals), which JAX differentiates by itself in every mode."""
        return self.kernel(kernel).forward(*arrays, **self.spec.complete(options))

    def backward(self, dy, arrays, residuals, needs=None, *, kernel: str = "plain", **options):
        """The pure backward: one gradient per argument, None where `needs` is False."""
        if needs is None:
            needs = self._needs(arrays)
        options = self.spec.complete(options)
        return self.kernel(kernel).backward(dy, arrays, residuals, needs, **options)

    def _needs(self, arrays_or_dtypes):
        return tuple(
            arg.kind == "float" and a is not None
            for arg, a in zip(self.spec.args, arrays_or_dtypes, strict=True)
        )

    def _array(self, i, a):
        if i >= len(self.spec.args):
            return jnp.asarray(a)  # one array too many: bind says so
        arg = self.spec.args[i]
        if not isinstance(a, jax.Array):  # asarray would copy a tracer, and backward keep the copy
            try:
                a = jnp.asarray(a)
            except TypeError as error:
                raise SpecError(
                    f"{self.spec.name}: {arg.name} is {type(a).__name__}, expected an array"
                ) from error
        kind, expected = KINDS[arg.kind]
        if not jnp.issubdtype(a.dtype, kind):
            raise SpecError(
                f"{self.spec.name}: {arg.name} has dtype {a.dtype}, expected {expected}"
            )
        return a

    def _check_indices(self, arrays, dims, options) -> None:
        """Out-of-range indices raise where their values are known. Under jit they are not, and the
        rules give NaN for them."""
        for arg, a in zip(self.spec.args, arrays, strict=True):
            if arg.kind != "index" or a is None or isinstance(a, jax.core.Tracer) or not a.size:
                continue
            values, high = np.asarray(a), dims[arg.below]
            bad = (values < 0) | (values >= high)
            ignored = None if arg.ignore is None else options[arg.ignore]
            if ignored is not None:
                bad &= values != ignored
            if bad.any():
                allowed = "" if ignored is None else f" or {arg.ignore}={ignored}"
                raise SpecError(
                    f"{self.spec.name}: {arg.name} holds {int(values[bad][0])}, "
                    f"expected 0 <= {arg.name} < {high}{allowed}"
                )

    def _narrow(self, arrays, dims, options):
        """Indices of 8 bytes, which x64 makes the default, in the 4 that suffice: they are kept for
        backward. What is out of range stays out of range."""
        low, high = -(2**31), 2**31 - 1

        def narrow(arg, a):
            if arg.kind != "index" or a is None or a.dtype.itemsize < 8 or dims[arg.below] > high:
                return a
            ignored = None if arg.ignore is None else options[arg.ignore]
            if ignored is not None and not low < ignored < high:
                return a
            return jnp.clip(a, max(low, int(jnp.iinfo(a.dtype).min)), high).astype(jnp.int32)

        return tuple(narrow(arg, a) for arg, a in zip(self.spec.args, arrays, strict=True))

    def wrap(self, kernel):
        spec, plain = self.spec, self.plain
        names, count = tuple(spec.options), len(spec.residuals)

        def asked(half, needs, options, reads=None):
            """A backward that gives what is asked for alone, and is given shapes alone where the
            entry keeps no more. They become what JAX does not trace in here, for it would ask for
            their values."""

            def backward(dy, kept, residuals):
                kept = tuple(
                    jax.ShapeDtypeStruct(a.shape[1:], a.dtype)
                    if a is not None and arg.name in spec.shapes
                    else a
                    for arg, a in zip(spec.args, kept, strict=True)
                )
                grads = half(dy, kept, residuals[:reads], needs, **options)
                return tuple(g if n else None for g, n in zip(grads, needs, strict=True))

            return backward

        def pair(values, needs):
            """Forward and backward of the kernel; where JAX differentiates a kernel it cannot see
            into, for a second derivative, it differentiates the plain rule."""
            options = dict(zip(names, values, strict=True))
            forward = functools.partial(kernel.forward, **options)
            backward = asked(kernel.backward, needs, options)
            if kernel is plain:
                return forward, backward
            by_hand = asked(plain.backward, needs, options, count)  # not what is kept early
            plain_forward = functools.partial(plain.forward, **options)
            if kernel.early:
                if needs is not None:
                    forward = functools.partial(forward, needs=needs)
                forward = seen_as_early(forward, plain_forward, count)
            else:
                forward = seen_as_once(forward, plain_forward, spec.residuals)
            return forward, seen_as(backward, by_hand)

        def trimmed(static, name, value, arrays):
            if name not in self.trim:
                return value
            return self.trim[name](value, *arrays, **dict(zip(names, static[0], strict=True)))

        @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
        def run(static, *arrays):
            return pair(static[0], None)[0](*arrays)

        def fwd(static, *given):
            arrays = tuple(None if p is None else as_array(p.value) for p in given)
            # a structure, which JAX does not trace: () where a gradient is asked for
            wanted = tuple(() if p is not None and p.perturbed else None for p in given)
            needs = tuple(w is not None for w in wanted)
            y, residuals = pair(static[0], needs)[0](*arrays)
            residuals, early = residuals[:count], residuals[count:]
            if spec.surrogate:
                # a second derivative sees through this y: to it, too, its derivative is ours
                y = run(static, *arrays)[0]
            kept = tuple(
                None
                if a is None or arg.name not in spec.saves
                else jnp.zeros((0, *a.shape), a.dtype)
                if arg.name in spec.shapes
                else trimmed(static, arg.name, a, arrays)
                for arg, a in zip(spec.args, arrays, strict=True)
            )
            some = (
                trimmed(static, n, r, arrays)
                for n, r in zip(spec.residuals, residuals, strict=True)
            )
            return (y, residuals), (wanted, kept, (*some, *early))

        def bwd(static, saved, cotangents):
            dy, _ = cotangents  # residuals leave through stop_gradient
            values, dtypes = static
            wanted, kept, residuals = saved
            needs = tuple(w is not None for w in wanted)  # a call of a kernel writes all of them
            grads = pair(values, needs)[1](as_array(dy), kept, residuals)
            # JAX takes a cotangent of any dtype without a word
            return tuple(
                g.astype(d) if n else None for g, d, n in zip(grads, dtypes, needs, strict=True)
            )

        run.defvjp(fwd, bwd, symbolic_zeros=True)
        return run


def untraced(entry, option, value):
    """An option as a Python value. Options are part of what is compiled."""
    if isinstance(value, jax.core.Tracer):
        raise SpecError(
            f"{entry}: {option} is traced ({jax.typeof(value).str_short()}), expected a Python "
            "value, which jax.jit takes by static_argnames"
        )
    return value.item() if isinstance(value, jax.Array) and value.ndim == 0 else value


def as_array(a):
    """A value that JAX hands over; a constant may come as a number of its own types."""
    return a if isinstance(a, jax.Array) else jnp.asarray(a, getattr(a, "dtype", None))
