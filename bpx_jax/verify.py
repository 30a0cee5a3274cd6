"""JAX under the verification kit: NumPy arrays in, NumPy arrays out.

float64 needs `jax_enable_x64`; the constructor turns it on, since a check in float32 would call
itself float64.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from bpx import rule as call_path
from bpx.spec import SpecError
from bpx_jax import RULES
from bpx_jax._checks import CHECKS, saved_bytes
from bpx_jax.oracles import DIFFERS, ORACLES

DTYPES = {
    "float64": jnp.float64,
    "float32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
}


def to_numpy(x):
    if x is None:
        return None
    # NumPy converts here and in `array`: JAX would compile a program for every shape
    return np.asarray(x, np.float64 if jnp.issubdtype(x.dtype, jnp.floating) else None)


class JaxRunner:
    name = "jax"
    rules, oracles, differs, checks = RULES, ORACLES, DIFFERS, CHECKS
    option_checks = ("needs", "second derivative")
    case_checks = ("saved bytes",)

    def __init__(self, device: str = "cpu") -> None:
        jax.config.update("jax_enable_x64", True)
        platform = {"cuda": "gpu"}.get(device, device)
        try:
            self.device = jax.devices(platform)[0]
        except RuntimeError as error:
            raise SpecError(
                f"verify: device is {device!r}, expected one of {sorted({jax.default_backend()})}"
            ) from error
        if platform != "cpu":  # whose products in float32 round their factors unless told otherwise
            jax.config.update("jax_default_matmul_precision", "highest")

    def array(self, a, dtype: str):
        if a is None:
            return None
        a = np.asarray(a)
        return jax.device_put(
            a.astype(DTYPES[dtype] if a.dtype.kind == "f" else a.dtype), self.device
        )

    def arrays(self, case, dtype: str):
        return [self.array(a, dtype) for a in case.arrays.values()]

    def floats(self, rule, arrays):
        """Places of the arguments that have a gradient."""
        return tuple(
            i
            for i, (spec, a) in enumerate(zip(rule.spec.args, arrays, strict=True))
            if spec.kind == "float" and a is not None
        )

    def of_floats(self, f, rule, case, arrays):
        """f on a case as a function of the arguments that have a gradient, and these."""
        floats = self.floats(rule, arrays)

        def of(*values):
            full = list(arrays)
            for i, v in zip(floats, values, strict=True):
                full[i] = v
            return f(*full, **case.options)

        return of, [arrays[i] for i in floats]

    def using(self, kernel: str):
        """Force the kernel; a GPU kernel on the CPU runs in its interpreter."""
        interpret = kernel == "pallas" and self.device.platform == "cpu"
        return call_path.use(kernel, interpret=interpret)

    def interprets(self, kernel: str) -> bool:
        return False  # Pallas's interpreter is compiled

    def refusal(self, rule, kernel, case, dtype):
        arrays = self.arrays(case, dtype)
        shapes = tuple(None if a is None else a.shape for a in arrays)
        with self.using(kernel):
            options, dims = rule.bind(shapes, case.options)
            return rule.kernel(kernel).refuses(tuple(arrays), {**dims, **options})

    def rounded(self, array, dtype):
        return to_numpy(self.array(array, dtype))

    def value(self, rule, kernel, case, dtype):
        with self.using(kernel):
            forward = jax.jit(partial(rule.forward, kernel=kernel, **case.options))
            y, residuals = forward(*self.arrays(case, dtype))
        return to_numpy(y), tuple(to_numpy(r) for r in residuals)

    def gradient(self, rule, kernel, case, dy, dtype):
        with self.using(kernel):
            return self._gradient(rule, rule, case, dy, dtype)

    def autodiff(self, f, rule, case, dy):
        return self._gradient(f, rule, case, dy, "float64")

    def _gradient(self, f, rule, case, dy, dtype):
        arrays = self.arrays(case, dtype)
        pull, values = self.pulled(f, rule, case, arrays)
        found = jax.jit(pull)(values, self.array(dy, dtype))
        return self.placed(rule, arrays, found)

    def pulled(self, f, rule, case, arrays):
        """The function from floating arguments and dy to gradients, and those arguments: jitted,
        it is one compilation, where eager calls would compile every operation."""
        of, values = self.of_floats(f, rule, case, arrays)

        def pull(values, dy):
            y, vjp = jax.vjp(of, *values)
            return vjp(dy.astype(y.dtype))

        return pull, values

    def placed(self, rule, arrays, found):
        """One gradient for each argument, None for those that have none."""
        grads = dict(zip(self.floats(rule, arrays), found, strict=True))
        return tuple(to_numpy(grads.get(i)) for i in range(len(arrays)))

    def oracle_value(self, f, rule, case, dtype="float64"):
        return to_numpy(jax.jit(partial(f, **case.options))(*self.arrays(case, dtype)))

    def saved_bytes(self, f, rule, case, dtype):
        arrays = self.arrays(case, dtype)
        of, values = self.of_floats(f, rule, case, arrays)
        return saved_bytes(of, values, arrays)

    def finite_differences(self, rule, kernel, case):
        f, values = self.of_floats(rule, rule, case, self.arrays(case, "float64"))
        with self.using(kernel):
            try:
                check_grads(jax.jit(f), values, 1, ["rev"], atol=1e-7, rtol=1e-7, eps=1e-5)
            except AssertionError as error:
                return str(error).strip().splitlines()[0]
        return ""


RUNNER = JaxRunner
