"""The native core with AddressSanitizer and UndefinedBehaviorSanitizer: the verification kit's
whole table of cases in PyTorch, then native_fuzz.py, native_fuzz_jax.py and what JAX alone calls.

    python tests/native_sanitizers.py [arguments of native_fuzz.py]

Once for each instruction set that this processor has: a loader cannot choose between them before
the sanitizer runs. Exits 1 at the first report.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bpx import native

ROOT = Path(__file__).parent.parent
ARCHITECTURES = ("x86-64", "x86-64-v3", "x86-64-v4")
SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]


def build(folder, architecture):
    """The library for one instruction set."""
    library = folder / f"core-{architecture}.so"
    flags = ["-std=c11", "-O2", "-g", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math"]
    flags += ["-ffp-contract=fast", "-fopenmp-simd", "-fvisibility=hidden", "-DBPX_NO_CLONES"]
    flags += [f'-DBPX_SOURCES="{native.digest()}"', f"-march={architecture}", *SANITIZERS]
    sources = [str(native.FOLDER / name) for name in native.SOURCES]
    subprocess.run(["gcc", *flags, *sources, "-lm", "-o", str(library)], check=True)
    return library


def runs_here(architecture):
    """Whether this processor has the instructions, by gcc's own test."""
    program = f'int main(void) {{ return !__builtin_cpu_supports("{architecture}"); }}'
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "supports"
        command = ["gcc", "-x", "c", "-", "-o", str(out)]
        subprocess.run(command, input=program, text=True, check=True)
        return subprocess.run([str(out)]).returncode == 0


def kernels():
    """The entries that have a native kernel in PyTorch."""
    import bpx_torch

    rules = bpx_torch.RULES.items()
    return [name for name, rule in rules if any(k.name == "cpu" for k in rule.kernels)]


def main(arguments):
    preload = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            if architecture != "x86-64" and not runs_here(architecture):
                print(f"{architecture}: not run, this processor has not got it")
                continue
            environment = os.environ | {
                "BPX_NATIVE_LIBRARY": str(build(Path(folder), architecture)),
                "LD_PRELOAD": " ".join(preload),
                "ASAN_OPTIONS": "detect_leaks=0",  # of Python and torch, which free nothing at exit
                "UBSAN_OPTIONS": "print_stacktrace=1",
                "PYTHONPATH": str(ROOT),
            }
            print(f"{architecture}:", flush=True)
            for command in (
                ["-m", "bpx", "verify", "--framework", "torch", *kernels()],
                ["-m", "tests.native_fuzz", *arguments],
                ["-m", "tests.native_fuzz_jax", "--calls", "400"],
                ["-m", "pytest", "-qrs", str(ROOT / "tests" / "test_native_recurrent_jax.py")],
            ):
                code = subprocess.run([sys.executable, *command], env=environment).returncode
                if code != 0:
                    return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
