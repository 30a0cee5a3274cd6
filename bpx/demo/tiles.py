"""Small grey images side by side, as one <svg> element that needs nothing else."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np

ACROSS, GAP, SCALE = 10, 2, 6


def svg(images: Any, label: str) -> str:
    """Images (N 1 H W) of -1 to 1 in rows of ACROSS, 1 white on black, as an embedded PNG."""
    n, _, high, wide = images.shape
    down = -(-n // ACROSS)
    sheet = np.full((down * (high + GAP) - GAP, ACROSS * (wide + GAP) - GAP), 96, np.uint8)
    for i, image in enumerate(np.clip(np.rint((images[:, 0] + 1) * 127.5), 0, 255)):
        top, left = i // ACROSS * (high + GAP), i % ACROSS * (wide + GAP)
        sheet[top : top + high, left : left + wide] = image
    height, width = (SCALE * s for s in sheet.shape)
    data = base64.b64encode(png(sheet)).decode()
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f'<image width="{width}" height="{height}" style="image-rendering: pixelated" '
        f'href="data:image/png;base64,{data}"/></svg>'
    )


def png(grey: Any) -> bytes:
    """A PNG file of a uint8 image (H W)."""
    high, wide = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in grey)  # filter 0: as they are
    header = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
