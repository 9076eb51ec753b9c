"""Folders that are written under a temporary name, listed, flushed, and renamed atomically; and how they are
checked.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from rlpost.weight_file import checksum_of

STATE_FILE = "stage.json"
LIST_FILE = "files.json"
"""Lists every other file with its size and its xxh3-128."""
_REMOVING = "removing-"


def damage_of(checkpoint: Path) -> str | None:
    """Describe how a checkpoint differs from what was written; None if it does not. Sizes are compared first."""
    try:
        listed = json.loads((checkpoint / LIST_FILE).read_text(encoding="utf-8"))
        files = {str(name): (entry["bytes"], entry["xxh3"]) for name, entry in listed.items()}
    except FileNotFoundError:
        return f"it has no {LIST_FILE}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its {LIST_FILE} cannot be read ({type(error).__name__})"
    if STATE_FILE not in files:
        return f"its {LIST_FILE} does not name {STATE_FILE}"
    for name, (size, _) in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, and {size} were written"
    altered = (name for name, (_, checksum) in files.items() if checksum_of(checkpoint / name) != checksum)
    first = next(altered, None)
    return None if first is None else f"the content of {first} is not what was written"


def write_list(folder: Path) -> None:
    """List the files in the folder, for `damage_of`."""
    (folder / LIST_FILE).write_text(json.dumps(_listed(folder), indent=1))


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "xxh3": checksum_of(path)} for path in files}


def publish(beside: Path, final: Path) -> None:
    """Flush everything in `beside` to disk, then give the directory its final name atomically."""
    for path in (*beside.rglob("*"), beside):
        if not path.is_symlink():
            _flush(path)
    displaced = _put_aside(final) if final.exists() else None
    beside.rename(final)
    _flush(final.parent)
    if displaced is not None:
        shutil.rmtree(displaced)


def remove(folder: Path) -> None:
    """Delete a folder; an interrupted deletion leaves no part of it under its name."""
    shutil.rmtree(_put_aside(folder))


def left_behind(directory: Path) -> list[Path]:
    """Return the remains of interrupted deletions in `directory`."""
    return list(directory.glob(f"{_REMOVING}*"))


def _put_aside(folder: Path) -> Path:
    aside = folder.with_name(f"{_REMOVING}{folder.name}")
    if aside.exists():
        shutil.rmtree(aside)
    return folder.rename(aside)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
