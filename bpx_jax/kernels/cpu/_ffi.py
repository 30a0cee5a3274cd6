"""The native core's XLA FFI targets: compiled once per jaxlib, registered once per process."""

import ctypes
import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bpx import native
from bpx.native import compile

TARGET, EACH, COPY = "bpx_call", "bpx_each", "bpx_copy"
NAMES = {"float32": "f32", "float64": "f64", "bfloat16": "bf16"}
SUFFIXES = {**NAMES, "uint8": "u8"}


@functools.cache
def available() -> str | None:
    """None once the targets are registered, else why it is not. The first call may compile."""
    if (reason := native.available()) is not None:
        return reason
    try:
        include = Path(jax.ffi.include_dir())
        headers = [*include.rglob("*.h"), native.FOLDER / "xla_pool.hpp"]
        path = compile.shared_library("xla_ffi.cc", [include], headers=headers)
        shim = ctypes.CDLL(str(path))
    except (compile.CompileError, OSError) as error:
        return str(error)
    shim.bpx_xla_bind(ctypes.c_void_p(native.library()._handle))
    for name in (TARGET, EACH, COPY):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(shim, name)), platform="cpu")
    return None


def refuses(arrays):
    """None, or why no kernel of the core can run on these arrays. The first one gives the type;
    arrays after it may be of narrower ones, never float64 beside another."""
    first = arrays[0]
    if (reason := refuses_type(first.dtype)) is not None:
        return reason
    for a in arrays:
        if a is not None and a.size == 0:
            return "an argument has no elements"
        if a is not None and a.dtype == jnp.float64 and first.dtype != jnp.float64:
            return f"an argument is float64 beside {first.dtype}"
    return available()


def refuses_type(dtype):
    """None, or why the core runs for no array of this type."""
    if (reason := elsewhere()) is not None:
        return reason
    if str(dtype) not in NAMES:
        return f"it takes float32, float64 and bfloat16, not {dtype}"
    return None


def elsewhere():
    """None, or why a custom call would not run well where JAX runs."""
    if (backend := jax.default_backend()) != "cpu":
        return f"the default backend is {backend}"
    if (devices := jax.device_count()) > 1:
        return f"there are {devices} devices, and XLA would gather a sharded x for a custom call"
    return None


def call(
    kernel,
    dtype,
    arrays,
    results,
    sizes,
    numbers=(),
    *,
    fold=-1,
    aliases=None,
    vmap="broadcast_all",
):
    """The results of bpx_`kernel`_<dtype>: `arrays` in the order of its struct, the first never
    absent, each of the type that the struct has; `results` are (shape, dtype), None for one that is
    not wanted. Under vmap `fold` is the size that the batch multiplies where the kernel treats its
    elements alike (the rows of a softmax); without it each element is a call of its own. `aliases`:
    which array a result may be written over, place -> place. `vmap`: jax.ffi's vmap_method."""
    given = [jnp.zeros((0,), dtype) if a is None else a for a in arrays]
    wanted = [((0,), dtype) if r is None else r for r in results]
    found = jax.ffi.ffi_call(
        TARGET,
        [jax.ShapeDtypeStruct(*w) for w in wanted],
        vmap_method=vmap,
        input_output_aliases=aliases,
    )(
        *given,
        kernel=f"{kernel}_{SUFFIXES[str(jnp.dtype(dtype))]}",
        sizes=np.array(sizes, np.int64),
        numbers=np.array(numbers, np.float64),
        elements=math.prod(arrays[0].shape),
        fold=fold,
    )
    return tuple(None if r is None else f for r, f in zip(results, found, strict=True))


def each(kernel, dtype, columns, shape, sizes, numbers=()):
    """The float32 result, of that shape, of a kernel bpx_`kernel`_<dtype> that takes many arrays in
    one call: `columns` of its table, as many arrays of that dtype in each, then the whole numbers
    of `sizes`, as many in each. Arrays without elements are absent ones."""
    arrays = [a for column in columns for a in column]
    return jax.ffi.ffi_call(
        EACH, jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="broadcast_all"
    )(
        *arrays,
        kernel=f"{kernel}_{SUFFIXES[str(jnp.dtype(dtype))]}",
        sizes=np.array([n for column in sizes for n in column], np.int64),
        numbers=np.array(numbers, np.float64),
        entries=len(columns[0]),
        elements=math.prod(shape),
    )


def copies(array):
    """Whether `copy` takes arrays like this one."""
    return array.size > 0 and elsewhere() is None and available() is None


def copy(arrays, results):
    """The arrays' elements, one array behind the other, as arrays of these shapes and dtypes, which
    are those of all: XLA compiles a concatenation of a thousand arrays for minutes."""
    return jax.ffi.ffi_call(COPY, results, vmap_method="sequential")(*arrays)


def arithmetic(dtype):
    """The type of statistics, weights and their gradients."""
    return jnp.dtype("float64") if dtype == jnp.float64 else jnp.dtype("float32")


def as_type(a, dtype):
    """`a` as a kernel reads it."""
    return None if a is None else a.astype(dtype)
