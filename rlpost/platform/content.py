"""The identity of a file: its bytes."""

from __future__ import annotations

from pathlib import Path

import xxhash

_BLOCK_BYTES = 1 << 24


def file_hash(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
