"""Whole rows through a Pallas kernel: by Mosaic GPU on a Hopper GPU, in the interpreter on a CPU.

A program is a group of 128 threads that keeps a row in registers, so what a kernel reads is read
once. Kernels are written row by row in jax.numpy, body(program, *refs): Mosaic lays the row out
over the threads and sums across them. Rows are padded to whole groups of 128 columns.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from bpx import rule

GROUP = 128  # threads of a program
LARGEST = 8192  # columns of which registers hold a few rows
BLOCK = 4096  # columns of a longer row that it takes at a time
SMALLEST = 512  # columns, below which a row is too little work for a program
# elements, below which XLA normalises as fast: what it reads again is still in the cache
FEWEST = 2**23
PROGRAMS = 264  # that add up over their rows: two on each multiprocessor of an H100
HOPPER = 9.0


def refuses(x, columns, name="D", *, long=False):
    """None, or why no kernel can run on rows of x of so many columns; `name` is what they are
    called, `long` says that the kernel walks over long ones."""
    if (reason := _elsewhere()) is not None:
        return reason
    if columns == 0:
        return f"{name} is 0"
    if columns > LARGEST and not long:
        return f"{name} is {columns}, at most {LARGEST} fit in the registers of a program"
    if jax.default_backend() == "cpu":
        return None
    if x.dtype == jnp.float64:
        return "Mosaic GPU has no sums of float64"
    if rule.asked() == "pallas":
        return None
    if columns < SMALLEST or columns % GROUP:
        return f"{name} is {columns}, by itself it takes multiples of {GROUP} from {SMALLEST} on"
    if x.size < FEWEST:
        return f"there are {x.size} elements, by itself it takes {FEWEST} and more"
    if (devices := jax.device_count()) > 1:
        return f"there are {devices} devices, of which a kernel knows one"
    return None


def _elsewhere():
    backend = jax.default_backend()
    if backend == "cpu":
        return None if rule.interpreting() else "the default backend is cpu"
    if backend != "gpu":
        return f"the default backend is {backend}, for which the kernel was not written"
    capability = getattr(jax.devices()[0], "compute_capability", "0")
    if float(capability) < HOPPER:
        return f"the GPU has compute capability {capability}, Mosaic GPU takes {HOPPER} and above"
    return None


def call(body, out_shape, programs):
    """The function of arrays that runs body(program, *refs), refs to the arrays and to out_shape,
    whole."""
    if jax.default_backend() == "cpu":
        return pl.pallas_call(
            lambda *refs: body(pl.program_id(0), *refs),
            out_shape=out_shape,
            grid=(programs,),
            interpret=True,
        )
    return mosaic(body, out_shape, programs)


def mosaic(body, out_shape, programs):
    from jax.experimental.pallas import mosaic_gpu

    return mosaic_gpu.kernel(
        lambda *refs: body(jax.lax.axis_index("program"), *refs),
        out_type=out_shape,
        grid=(programs,),
        grid_names=("program",),
        compiler_params=mosaic_gpu.CompilerParams(
            lowering_semantics=mosaic_gpu.LoweringSemantics.Warpgroup
        ),
    )


def only(row, columns):
    """The row with zeros in the padding."""
    if len(row) == columns:
        return row
    return jnp.where(jax.lax.broadcasted_iota(jnp.int32, row.shape, 0) < columns, row, 0)


def each_row(program, rows, load, step, carry):
    """carry through step(row, load(row), carry) over the rows of one of a few programs. The next
    row is on its way while one is worked on."""
    share = pl.cdiv(rows, few(rows))
    first = program * share

    def ahead(row, state):
        loaded, carry = state
        following = load(jnp.minimum(row + 1, rows - 1))
        return following, step(row, loaded, carry)

    last = jnp.minimum(first + share, rows)
    return jax.lax.fori_loop(first, last, ahead, (load(first), carry))[1]


def walk(width, load, step, carry):
    """carry through step(start, first, load(start), carry) over blocks of a long row. The last
    block overlaps the one before it: its columns below `first` have been met; elsewhere that is 0.
    """
    size = block(width)
    whole, rest = divmod(width, size)

    def ahead(k, state):
        loaded, carry = state
        following = load(jnp.minimum((k + 1) * size, width - size))
        return following, step(k * size, 0, loaded, carry)

    loaded, carry = jax.lax.fori_loop(0, whole, ahead, (load(0), carry))
    return step(width - size, size - rest, loaded, carry) if rest else carry


def block(width):
    """The columns of a block of a long row."""
    return min(width, BLOCK)


def unmet(row, first, absent):
    """The row with `absent` in the columns below first."""
    if first == 0:
        return row
    return jnp.where(jax.lax.broadcasted_iota(jnp.int32, row.shape, 0) < first, absent, row)


def few(rows):
    """How many programs share the rows where each adds up over its own; none is without a row."""
    return pl.cdiv(rows, pl.cdiv(rows, PROGRAMS))


class Rows:
    """x as a table of padded rows, and what stands beside it."""

    def __init__(self, x):
        self.columns = x.shape[-1]
        self.statistics = (*x.shape[:-1], 1)
        self.dtype = jnp.dtype("float64") if x.dtype == jnp.float64 else jnp.dtype("float32")
        self.count = x.size // max(self.columns, 1)
        self.width = pl.cdiv(self.columns, GROUP) * GROUP

    def table(self, a, absent=0):
        """An array like x as rows x width, `absent` behind each row."""
        a = a.reshape(self.count, self.columns)
        return jnp.pad(a, ((0, 0), (0, self.width - self.columns)), constant_values=absent)

    def vector(self, parameter, absent):
        """weight or bias, padded, in their own type: a program reads them with each row."""
        if parameter is None:
            return jnp.full(self.width, absent, self.dtype)
        return jnp.pad(parameter, (0, self.width - self.columns))

    def like(self, dtype):
        return jax.ShapeDtypeStruct((self.count, self.width), dtype)

    def statistic(self):
        return jax.ShapeDtypeStruct((self.count,), self.dtype)

    def partial(self):
        """What each of a few programs adds up over its rows, for one more sum in XLA, in a fixed
        order."""
        return jax.ShapeDtypeStruct((few(self.count), self.width), self.dtype)

    def unpad(self, table, shape):
        return table[:, : self.columns].reshape(shape)
