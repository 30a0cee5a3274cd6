"""The native core's exp, log, erf, ...: their error at a sample of the inputs of native_math_ulp.c,
NaN, infinities, zeros and subnormal results included; and that they vectorise."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bpx.native import FOLDER

PROGRAM = Path(__file__).parent / "native_math_ulp.c"
FLAGS = (
    "-std=c11 -D_GNU_SOURCE -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd"
).split()
FUNCTIONS = "exp expm1 log log1p tanh sech sigmoid erf erfc atan sin cos".split()
GCC = shutil.which("gcc")

pytestmark = pytest.mark.skipif(
    GCC is None or platform.machine() != "x86_64", reason="measured with gcc and its libquadmath"
)


@pytest.mark.parametrize("flags", [["-march=native"], []], ids=["native", "baseline"])
def test_error_in_units_in_the_last_place(flags, tmp_path):
    program = tmp_path / "ulp"
    libraries = ["-lm", "-lquadmath"]
    command = [GCC, *FLAGS, *flags, f"-I{FOLDER}", str(PROGRAM), "-o", str(program), *libraries]
    subprocess.run(command, check=True)
    run = subprocess.run([str(program), "65521", "20000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    measured = re.findall(r"^(\w+) +(f32|f64) +(\d+) inputs", run.stdout, re.MULTILINE)
    names = {*FUNCTIONS, "ndtr_of", "sin_any", "cos_any"}
    assert {(name, dtype) for name, dtype, _ in measured} == {
        (name, dtype) for name in names for dtype in ("f32", "f64")
    }
    assert all(int(count) > 14000 for _, _, count in measured)


@pytest.mark.parametrize("march", ["x86-64-v4", "x86-64-v3"])
def test_every_function_vectorises(march, tmp_path):
    lines = ['#include "vector_math.h"']
    for name in FUNCTIONS:
        for dtype, c in (("f32", "float"), ("f64", "double")):
            loop = f"for (int i = 0; i < n; i++) y[i] = bpx_{name}_{dtype}(x[i]);"
            pragma = '_Pragma("omp simd")'
            given = f"const {c} *restrict x, {c} *restrict y, int n"
            lines.append(f"void {name}_{dtype}({given}) {{ {pragma} {loop} }}")
    source = tmp_path / "loops.c"
    source.write_text("\n".join(lines) + "\n")
    command = [GCC, *FLAGS, f"-march={march}", f"-I{FOLDER}", "-fopt-info-vec", "-c", str(source)]
    run = subprocess.run(
        [*command, "-o", str(tmp_path / "loops.o")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = {
        int(n) for n in re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized", run.stderr)
    }
    missing = [line for number, line in enumerate(lines[1:], 2) if number not in found]
    assert not missing
