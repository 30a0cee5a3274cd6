"""Golden vectors: what the specification computes, as files that any framework can be tested by.

`python -m bpx vectors OUT` writes a safetensors file for each entry and a manifest.json;
`python -m bpx vectors --check DIR` compares a folder of results that another framework computed.
The format is in docs/vectors.md. NumPy alone; nothing is pickled.
"""

from bpx.vectors.build import DTYPES, Vectors
from bpx.vectors.check import Checked, check
from bpx.vectors.entries import ENTRIES, vectors_of
from bpx.vectors.folder import FORMAT, read_manifest, read_results, read_vectors, write

__all__ = [
    "DTYPES",
    "ENTRIES",
    "FORMAT",
    "Checked",
    "Vectors",
    "check",
    "read_manifest",
    "read_results",
    "read_vectors",
    "vectors_of",
    "write",
]
