"""python -m bpx docs [--check] [DIR]: the reference pages, written from the entries and the rules.

Nothing in them depends on the machine, so that a checked-in page can be compared with a new one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bpx import _coverage, _faces, _measured
from bpx._cut import ROOT, kernels, rule_source, spec_source
from bpx._page import Entry, Table, entries, files, kind, profiles, tables, title
from bpx.demo import study_page
from bpx.profiles import TABLE
from bpx.profiles._kinks import KINKS
from bpx.spec import Op, Reject
from bpx.verify import kit_page

MARK = "<!-- written by `python -m bpx docs`; edit the entry, not this page -->"
PACKAGES = {"bpx_torch": "PyTorch", "bpx_jax": "JAX"}
# columns of names and numbers, not words
CODE = ("name", "shape", "default", "path", "message")
# written by hand, in the order of the index
PROSE = (
    "design",
    "convert",
    "carrying-over",
    "health",
    "adding-a-primitive",
    "numerics",
    "solvers",
    "search",
    "vectors",
    "verify-pytorch",
    "verify-jax",
    "what-the-kit-cannot-see",
    "changelog",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("dir", nargs="?", metavar="DIR", help="the folder to write to (docs)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a page is out of date"
    )


def run(args: argparse.Namespace) -> int:
    """Write or compare the pages."""
    checkout = ROOT / "docs"
    folder = Path(args.dir) if args.dir else checkout if checkout.is_dir() else Path("docs")
    wanted = pages() | measured_pages()
    kept = _measured.PAGES if _measured.missing() else ()
    stale = [n for n, text in wanted.items() if not _equal(folder / n, text)]
    gone = [n for n in _written(folder) if n not in wanted and n not in kept]
    if args.check:
        for name in (*stale, *gone):
            print(f"{folder / name} is out of date", file=sys.stderr)
        if stale or gone:
            print("python -m bpx docs writes the pages", file=sys.stderr)
        return int(bool(stale or gone))
    for name in gone:
        (folder / name).unlink()
    for name in stale:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(wanted[name], encoding="utf-8")
    print(f"{folder}: {len(wanted)} pages, {len(stale)} written, {len(gone)} removed")
    return 0


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    known = entries()
    faces = {package: _faces.names(package, _by_path(known)) for package in PACKAGES}
    every = {f"{kind(e)}/{e.name}.md": _entry(e, faces) for e in known.values()}
    every["index.md"] = "\n".join([MARK, *_index(known), ""])
    every["support.md"] = "\n".join([MARK, *_support(known, faces), ""])
    every["profiles.md"] = "\n".join([MARK, *_profiles(known), ""])
    every["errors.md"] = "\n".join([MARK, *_errors(known), ""])
    if (stored := ROOT / "docs" / study_page.RESULTS).exists():
        every[study_page.PAGE] = study_page.page(json.loads(stored.read_text(encoding="utf-8")))
    if (stored := ROOT / "docs" / kit_page.RESULTS).exists():
        results = json.loads(stored.read_text(encoding="utf-8"))
        every[kit_page.PAGE] = f"{MARK}\n{kit_page.page(results)}"
    return every


def measured_pages() -> dict[str, str]:
    """The pages that are measured; none where a framework is missing."""
    if missing := _measured.missing():
        print(f"not written without {' and '.join(missing)}: {', '.join(_measured.PAGES)}")
        return {}
    every = {}
    for name, (head, by_framework) in _measured.texts().items():
        lines = [MARK, *head]
        for framework, table in by_framework:
            lines += ["", f"## {framework}", "", *_markdown(table)]
        every[name] = "\n".join([*lines, ""])
    return every


def _entry(entry: Entry, faces: dict[str, dict[str, list[str]]]) -> str:
    lines = [MARK, f"# {entry.name}", "", *map(_prose, entry.doc.strip("\n").splitlines())]
    offered = [(PACKAGES[p], f"{p}.{n}") for p in PACKAGES for n in faces[p].get(entry.name, ())]
    for table in tables(entry):
        lines += ["", f"## {table.title}", "", *_markdown(table)]
    if offered:
        table = Table("Offered as", ("", "name"), tuple(offered))
        lines += ["", f"## {table.title}", "", *_markdown(table)]
    lines += ["", "## Files", "", *_markdown(files(entry))]
    lines += ["", "## The specification", "", *_python(spec_source(entry.path, entry.name))]
    for package, framework in PACKAGES.items():
        if (text := rule_source(package, entry.path, entry.name)) is not None:
            lines += ["", f"## The rule for {framework}", "", *_python(text)]
    return "\n".join([*lines, ""])


def _index(known: dict[str, Entry]) -> Iterator[str]:
    yield from ("# bpx", "")
    yield from ("Hand-written gradients: specified once, proven in PyTorch and in JAX.", "")
    for name in PROSE:
        yield f"- [{name.replace('-', ' ')}]({name}.md)"
    yield from ("- [errors](errors.md)", "- [support](support.md): kernels, names, gaps")
    yield "- [profiles](profiles.md): what torch, flax, optax and keras take"
    yield "- [features](features.md): dtypes, transforms, autocast"
    yield "- [memory](memory.md): bytes kept for backward"
    yield f"- [feedback alignment]({study_page.PAGE}): a study"
    yield f"- [planted bugs]({kit_page.PAGE}): what the verification kit catches"
    before = None
    for entry in known.values():
        if (group := kind(entry)) != before:
            yield from ("", f"## {group}", "", "| entry | |", "|---|---|")
            before = group
        yield f"| [{entry.name}]({group}/{entry.name}.md) | {_cell(title(entry))} |"


def _support(known: dict[str, Entry], faces: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    yield from ("# Support", "")
    yield "Kernels, the fastest first: a call runs the first that does not refuse it."
    yield from ("`python -m bpx show NAME` says why one refuses.", "")
    columns = (f"{f}: {what}" for f in PACKAGES.values() for what in ("kernels", "names"))
    head = ("entry", *columns)
    rows = []
    for name, entry in known.items():
        row = [f"[{name}]({kind(entry)}/{name}.md)"]
        for package in PACKAGES:
            row.append(_kernel_names(package, entry))
            row.append("<br>".join(map(_code, faces[package].get(name, ()))))
        rows.append(tuple(row))
    yield from _markdown(Table("", head, tuple(rows)))
    yield from ("", "# Coverage", "")
    yield "Every public name of the namespaces below in torch 2.13, jax 0.10.2 and optax 0.2.8, and"
    yield "those that bpx has beside them: the entry behind it, or why there is none."
    for table in _coverage.tables(known, faces):
        yield from ("", f"## {table.title}", "")
        rows = [(name, by, _cell(why)) for name, by, why in table.rows]
        yield from _markdown(Table("", table.head, tuple(rows)))


def _profiles(known: dict[str, Entry]) -> Iterator[str]:
    yield from ("# Profiles", "")
    yield "`profile=` gives a function, module, initializer or optimizer the defaults and"
    yield "conventions of another library; an option that a call gives wins. Without it, bpx_torch"
    yield "is torch's, and bpx_jax has the defaults of the name it stands for. A library missing"
    yield "from a table has nothing of its own there. `python -m bpx show NAME` prints one entry's."
    for name, entry in known.items():
        if name in TABLE:
            yield from ("", f"## [{name}]({kind(entry)}/{name}.md)", "")
            yield from _markdown(profiles(entry))
    yield from ("", "# Where derivatives jump", "")
    yield "No profile changes these. The derivative at a point, in bpx and in the libraries:"
    yield ""
    rows = tuple((k.entry, *(f"{x:g}" for x in k[1:])) for k in KINKS)
    yield from _markdown(Table("", ("name", "at", "bpx", "torch", "jax"), rows))


def _kernel_names(package: str, entry: Entry) -> str:
    if isinstance(entry, Op):
        return ", ".join(kernels(package, entry.path, entry.name)) or "none"
    return "yes" if (ROOT / package / f"{entry.path}.py").exists() else "none"


def _errors(known: dict[str, Entry]) -> Iterator[str]:
    yield from ("# Errors", "")
    yield "A call that does not fit its entry raises `bpx.SpecError`, a `ValueError`."
    yield "Each row is a call that a test makes, with what its message says."
    for entry in known.values():
        if entry.rejects:
            yield from ("", f"## {entry.name}", "")
            rows = tuple((_call(r), r.message) for r in entry.rejects)
            yield from _markdown(Table("", ("call", "message"), rows))


def _call(reject: Reject) -> str:
    given = [f"{name}: {shape}" for name, shape in reject.shapes.items() if shape is not None]
    given += [f"{name}: {dtype}" for name, dtype in reject.dtypes.items()]
    given += [f"{name} = {value!r}" for name, value in {**reject.values, **reject.options}.items()]
    return "<br>".join(map(_code, given)) or "no array"


def _markdown(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.head)} |"
    yield "|---" * len(table.head) + "|"
    for row in table.rows:
        cells = zip(table.head, row, strict=True)
        yield f"| {' | '.join(_code(c) if c and h in CODE else c for h, c in cells)} |"


def _python(text: str) -> list[str]:
    return ["```python", text, "```"]


def _prose(line: str) -> str:
    """A line of an entry's text; indented ones are code in Markdown already."""
    return line if line.startswith("    ") else line.replace("*", r"\*")


def _cell(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _by_path(known: dict[str, Entry]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, entry in known.items():
        found[entry.path].append(name)
    return found


def _equal(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _written(folder: Path) -> Iterator[str]:
    """The pages in a folder that this command wrote."""
    for path in sorted(folder.rglob("*.md")):
        if path.read_text(encoding="utf-8").startswith(MARK):
            yield path.relative_to(folder).as_posix()
