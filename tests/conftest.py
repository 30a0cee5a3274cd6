"""Settings of every test: strict JAX, one device option, one seed, and a summary that names
skips."""

import dataclasses
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest -n 2 owns the cores

try:
    import jax
except ImportError:
    jax = None
else:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="where rules run")


# The tests compile thousands of tiny functions, and XLA's optimisers take most of their time;
# `python -m bpx verify` runs the same checks with them. XLA aborts at a flag it does not know.
QUICK = {
    "0.10": "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
}


def pytest_configure(config):
    if jax is not None and config.getoption("--device") == "cpu":
        release = jax.__version__.rpartition(".")[0]
        flags = ("--xla_backend_optimization_level=0", QUICK.get(release, ""))
        os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *flags)).strip()


@pytest.fixture(autouse=True, scope="session")
def nodes():
    """Calls of the native core are nodes of torch's graph from the first on, not from a later one:
    what the tests of the rules look at is what users run in a loop. tests/test_node.py holds the
    other way against it."""
    try:
        from bpx_torch import _fast, _node
    except ImportError:
        return
    _fast.RECORDED = 1
    _node.build()


@pytest.fixture(autouse=True, scope="session")
def interpreter():
    """Triton's interpreter without its check of integers for overflow: it takes most of the time of
    an addition, and outside debug mode nobody looks at what it found."""
    try:
        from triton.runtime.interpreter import interpreter_builder as builder
    except ImportError:
        return
    if not builder.options.debug:
        builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


@pytest.fixture(scope="session")
def device(request):
    return request.config.getoption("--device")


@pytest.fixture(autouse=True)
def seeded():
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(0)
    torch.set_num_threads(1)
