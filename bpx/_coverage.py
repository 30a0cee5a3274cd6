"""Every name of the namespaces that the faces stand in for: behind which entry it is, or why not.

A face's GAPS holds the names it leaves out; the tests compare names and gaps with the libraries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from bpx import _faces
from bpx._page import Entry, Table, kind

# a face -> the namespace it stands in for, and what of it
NAMESPACES = {
    ("bpx_torch", "nn"): "torch.nn, modules",
    ("bpx_torch", "functional"): "torch.nn.functional, functions",
    ("bpx_torch", "optim"): "torch.optim, optimizers",
    ("bpx_torch", "optim.lr_scheduler"): "torch.optim.lr_scheduler, schedulers",
    ("bpx_torch", "optim.clip_grad"): "torch.nn.utils.clip_grad, functions",
    ("bpx_torch", "optim.swa_utils"): "torch.optim.swa_utils",
    ("bpx_torch", "init"): "torch.nn.init, functions",
    ("bpx_jax", "nn"): "jax.nn, functions",
    ("bpx_jax", "losses"): "optax.losses, functions",
    ("bpx_jax", "optim"): "optax, optimizers",
    ("bpx_jax", "schedules"): "optax.schedules, functions",
    ("bpx_jax", "initializers"): "jax.nn.initializers, functions",
}


def tables(
    known: Mapping[str, Entry], names: Mapping[str, Mapping[str, list[str]]]
) -> Iterator[Table]:
    """One table for each namespace. `names`: of each package, an entry to its names in faces."""
    for (package, face), title in NAMESPACES.items():
        behind: dict[str, list[str]] = defaultdict(list)
        for entry, offered in names[package].items():
            for name in offered:
                if _face(name) == face:
                    behind[name].append(f"[{entry}]({kind(known[entry])}/{entry}.md)")
        gaps = {n: why for n, why in _faces.gaps(package) if _face(n) == face}
        for name in _faces.offered(package, face):
            behind.setdefault(name, ["no rule of its own"])
        rows = [(_name(n), ", ".join(entries), "") for n, entries in behind.items()]
        rows += [(_name(n), "", why) for n, why in gaps.items()]
        rows.sort(key=lambda row: (row[0].lower(), row[0]))
        count = f"{title}: {len(behind)} offered by {package}.{face}, {len(gaps)} not"
        yield Table(count, ("name", "by the entry", "or why not"), tuple(rows))


def _face(offered: str) -> str:
    return offered.rpartition(".")[0]


def _name(offered: str) -> str:
    return offered.rpartition(".")[2]
