"""Large pages for large results of native kernels in torch."""

import mmap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bpx_torch.kernels.cpu import _pages

SMAPS = Path("/proc/self/smaps")


def asked_for(address):
    """Whether the memory at this address was asked to be in large pages, by the kernel's table."""
    inside = False
    for line in SMAPS.read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(part, 16) for part in words[0].split("-"))
            inside = start <= address < end
        elif inside and words[0] == "VmFlags:":
            return "hg" in words
    return False


@pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE") or not SMAPS.exists(),
    reason="the system has no large pages to ask for, or no table that tells",
)
@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="the kernel was built without large pages",
)
def test_memory_is_asked_for_from_32_mib_on():
    from bpx_torch.layers.embedding import embedding

    rows = _pages.LARGE // 4 // 64
    small, large = (torch.empty(n, 64) for n in (rows - 1, rows + 1))
    for a in (small, large):
        _pages.ask(a)
    assert asked_for(large.data_ptr() + _pages.PAGE)
    assert not asked_for(small.data_ptr() + _pages.PAGE)
    weight = torch.randn(rows + 1, 64, requires_grad=True)
    embedding(torch.tensor([3, rows, 3]), weight).backward(torch.randn(3, 64))
    assert asked_for(weight.grad.data_ptr() + _pages.PAGE)
