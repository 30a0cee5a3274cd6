"""The optional native core; everything else is in pyproject.toml.

`optional=True`: where the compiler is missing or fails, setuptools warns and installs without it.
"""

import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

native = runpy.run_path(str(Path(__file__).parent / "bpx" / "native" / "__init__.py"))

# No fast-math: NaN and infinity must survive. errno and trapping only forbid vectorising;
# -fopenmp-simd lets the sums that say so run in lanes, and brings no threads.
FLAGS = [
    "-std=c11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",
    "-fvisibility=hidden",
]

core = Extension(
    "bpx.native._core",
    sources=[f"bpx/native/{name}" for name in native["SOURCES"]],
    depends=[f"bpx/native/{name}" for name in native["HEADERS"]],
    define_macros=[("BPX_SOURCES", f'"{native["digest"]()}"')],
    extra_compile_args=FLAGS,
    libraries=["m"],
    optional=True,
)


class Parallel(build_ext):
    """Each source at once: a file holds every instruction set and type, which takes its time."""

    def build_extension(self, ext):
        compile = self.compiler.compile

        def each(sources, *args, **kwargs):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [pool.submit(compile, [s], *args, **kwargs) for s in sources]
                return [o for job in jobs for o in job.result()]

        self.compiler.compile = each
        super().build_extension(ext)


# The hosts' thread pools are reached through POSIX names, so Windows runs the plain rules.
setup(
    ext_modules=[] if sys.platform == "win32" else [core],
    cmdclass={"build_ext": Parallel},
)
