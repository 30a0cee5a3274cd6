"""The tables of docs/support.md name every public name of the libraries, offered or not and why."""

import importlib
import inspect
import re

import pytest

from bpx import _coverage, _faces, docs
from bpx._page import entries

KNOWN = entries()
NAMES = {package: _faces.names(package, docs._by_path(KNOWN)) for package in docs.PACKAGES}
TABLES = dict(zip(_coverage.NAMESPACES, _coverage.tables(KNOWN, NAMES), strict=True))


def public(namespace, wanted):
    found = importlib.import_module(namespace)
    return {n for n, v in vars(found).items() if not n.startswith("_") and wanted(v)}


def is_module(v):
    return inspect.isclass(v) and issubclass(v, importlib.import_module("torch").nn.Module)


def is_optimizer(v):
    return inspect.isclass(v) and issubclass(v, importlib.import_module("torch").optim.Optimizer)


def is_function(v):
    return callable(v) and not inspect.isclass(v)


def is_scheduler(v):
    return inspect.isclass(v) and issubclass(
        v, importlib.import_module("torch").optim.lr_scheduler.LRScheduler
    )


LIBRARY = {
    ("bpx_torch", "nn"): ("torch.nn", is_module),
    ("bpx_torch", "functional"): ("torch.nn.functional", inspect.isroutine),
    ("bpx_torch", "optim"): ("torch.optim", is_optimizer),
    ("bpx_torch", "optim.lr_scheduler"): ("torch.optim.lr_scheduler", is_scheduler),
    ("bpx_jax", "nn"): ("jax.nn", is_function),
    ("bpx_jax", "schedules"): ("optax.schedules", is_function),
    ("bpx_jax", "losses"): ("optax.losses", is_function),
    ("bpx_jax", "initializers"): ("jax.nn.initializers", is_function),
}


@pytest.mark.parametrize("face", LIBRARY, ids=".".join)
def test_every_name_of_the_library_is_in_the_table(face):
    namespace, wanted = LIBRARY[face]
    pytest.importorskip(namespace.split(".")[0])
    named = [name for name, _, _ in TABLES[face].rows]
    assert len(named) == len(set(named))
    assert not public(namespace, wanted) - set(named)


@pytest.mark.parametrize("face", TABLES, ids=".".join)
def test_a_name_is_offered_or_there_is_a_reason(face):
    package, module = face
    pytest.importorskip(package.removeprefix("bpx_"))
    offers = vars(importlib.import_module(f"{package}.{module}"))
    for name, by, why in TABLES[face].rows:
        assert bool(by) != bool(why), name
        assert name in offers or why, name
        for entry, page in re.findall(r"\[(\w+)\]\(([\w/]+\.md)\)", by):
            assert page == f"{KNOWN[entry].path.split('/')[0]}/{entry}.md"


def test_names_lead_to_their_entry():
    """Through statistics, arguments of another's name, and several rules behind one name."""
    found = {
        (package, name): {e for e, names in NAMES[package].items() if name in names}
        for package, name in (
            ("bpx_torch", "nn.InstanceNorm2d"),
            ("bpx_torch", "nn.BatchNorm1d"),
            ("bpx_torch", "functional.softplus"),
            ("bpx_torch", "functional.gumbel_softmax"),
            ("bpx_torch", "nn.Softmax2d"),
            ("bpx_jax", "nn.squareplus"),
        )
    }
    assert list(found.values()) == [
        {"instance_norm", "batch_norm"},
        {"batch_norm"},
        {"softplus"},
        {"softmax"},
        {"softmax"},
        {"squareplus"},
    ]
