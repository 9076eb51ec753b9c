"""A weight store for one node: a folder of weight files, in shared memory where there is room."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlpost.errors import WeightSyncError
from rlpost.interfaces import Generator, Learner
from rlpost.records import PublishReport, WeightManifest, WeightReceipt

SHARED_MEMORY = Path("/dev/shm")
FILE_STEM = "weights-"
COPIES = 3
"""Versions that exist at a time: the one being written, the current one, and the previous one."""


def default_directory(run_name: str, *, byte_count: int) -> Path:
    """Where to keep the weight files of a run: shared memory if it has room for them, else the temporary folder.

    Args:
        run_name: Unique among the runs of this node. A run that starts again under its old name reuses its folder, so
            that what a killed run left behind does not stay in memory.
        byte_count: Size of one version of the weights.
    """
    folder = f"rlpost-{run_name}"
    in_memory = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    if in_memory and shutil.disk_usage(SHARED_MEMORY).free >= COPIES * byte_count:
        return SHARED_MEMORY / folder
    return Path(tempfile.gettempdir()) / folder


class SharedMemoryStore:
    """Publishes weights as files that the generators of this node pull. A `WeightStore`."""

    def __init__(self, directory: Path, generator: Generator) -> None:
        """Take over `directory`, which no other store may use, and remove weight files that a killed run left there."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._remove_files()
        self._generator = generator
        self._files: list[Path] = []

    def publish(self, learner: Learner, *, version: int) -> PublishReport:
        """Write this version, let every generator pull it, and check each receipt.

        The current and the previous version stay on disk, so that a generator which starts late finds the one that
        it was told of.

        Raises:
            WeightSyncError: A generator does not hold this version.
        """
        start = time.monotonic()
        manifest = self._write(learner, version=version)
        written = time.monotonic()
        receipts = self._generator.pull_weights(manifest)
        _check(receipts, manifest)
        pulled = time.monotonic()
        for path in self._files[:-2]:
            path.unlink()
        self._files = self._files[-2:]
        return PublishReport(
            version=version,
            byte_count=manifest.byte_count,
            write_seconds=written - start,
            pull_seconds=pulled - written,
            receipts=tuple(receipts),
        )

    def close(self) -> None:
        """Remove the weight files, and the folder if nothing else is in it. Idempotent."""
        self._remove_files()
        if self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _remove_files(self) -> None:
        for path in self._directory.glob(f"{FILE_STEM}*"):
            path.unlink()

    def _write(self, learner: Learner, *, version: int) -> WeightManifest:
        """Write beside, then rename: a file under its final name is always whole."""
        path = self._directory / f"{FILE_STEM}{version:08d}.safetensors"
        unfinished = path.with_suffix(".unfinished")
        manifest = learner.write_weights(unfinished, version=version)
        assert manifest.version == version, f"asked for weights {version}, the learner wrote {manifest.version}"
        unfinished.replace(path)
        if path not in self._files:
            self._files.append(path)
        return replace(manifest, path=str(path.resolve()))


def _check(receipts: Sequence[WeightReceipt], manifest: WeightManifest) -> None:
    if not receipts:
        raise WeightSyncError(f"weights {manifest.version} must be acknowledged by a generator; no receipt came back")
    for receipt in receipts:
        if (receipt.version, receipt.checksum) != (manifest.version, manifest.checksum):
            raise WeightSyncError(
                f"generator {receipt.generator} must serve weights {manifest.version} with checksum "
                f"{manifest.checksum}; it acknowledged {receipt.version} with {receipt.checksum}: restart it"
            )
