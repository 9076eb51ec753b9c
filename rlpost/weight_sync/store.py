"""A weight store for one node: a folder of weight files, in shared memory where there is room."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rlpost.engine_records import PublishReport, WeightManifest, WeightReceipt
from rlpost.errors import WeightSyncError
from rlpost.interfaces import Generator, Learner
from rlpost.telemetry.waits import WAITS

SHARED_MEMORY = Path("/dev/shm")
NAME_STEM = "weights-"
KEPT = 2
"""Versions that stay after a pull: the current one and the previous one."""


def default_directory(run_name: str, *, byte_count: int) -> Path:
    """Where to keep the weight files of a run: shared memory if it has room for them, else the temporary folder.

    Args:
        run_name: Unique among the runs of this node. A run that starts again under its old name reuses its folder, so
            that what a killed run left behind does not stay in memory.
        byte_count: Size of one version of the weights.
    """
    folder = f"rlpost-{run_name}"
    in_memory = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    if in_memory and shutil.disk_usage(SHARED_MEMORY).free >= (KEPT + 1) * byte_count:
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
        self._published: list[Path] = []
        self._puller = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weight sync")
        self._pulling: Future[PublishReport] | None = None

    def publish(self, learner: Learner, *, version: int, keep_kv_cache: bool) -> Future[PublishReport]:
        """Write this version, and let every generator pull it in the background and check each receipt.

        Returns when the weights are written, so that the learner may change them. The current and the previous version
        stay on disk, so that a generator which starts late finds the one that it was told of.

        Raises:
            WeightSyncError: The publication before this one failed. What fails of this one is raised by the result.
        """
        before, self._pulling = self._pulling, None
        if before is not None:
            # Bounded by the generators' own deadline for a pull.
            with WAITS.until(f"the pull before weights {version}"):
                before.result()
        start = time.monotonic()
        manifest = self._write(learner, version=version)
        self._pulling = self._puller.submit(
            self._pull, manifest, write_seconds=time.monotonic() - start, keep_kv_cache=keep_kv_cache
        )
        return self._pulling

    def close(self) -> None:
        """Wait for a pull under way, remove the weight files, and the folder if nothing else is in it. Idempotent."""
        self._puller.shutdown(wait=True)
        self._remove_files()
        if self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _pull(self, manifest: WeightManifest, *, write_seconds: float, keep_kv_cache: bool) -> PublishReport:
        """Runs on the thread of the store."""
        start = time.monotonic()
        receipts = self._generator.pull_weights(manifest, keep_kv_cache=keep_kv_cache)
        if not receipts:
            self._check_that_none_serves(manifest)
        _check(receipts, manifest)
        # Only now: until its receipt is there, a generator may still be reading an older version.
        for path in self._published[:-KEPT]:
            _remove(path)
        self._published = self._published[-KEPT:]
        WAITS.note(f"weights {manifest.version} at every engine")
        return PublishReport(
            version=manifest.version,
            byte_count=manifest.byte_count,
            write_seconds=write_seconds,
            pull_seconds=time.monotonic() - start,
            receipts=tuple(receipts),
        )

    def _check_that_none_serves(self, manifest: WeightManifest) -> None:
        """Without a receipt, all engines must be on their way back from a death; they pull before they serve."""
        behind = [load.generator for load in self._generator.loads() if load.version < manifest.version]
        if behind:
            raise WeightSyncError(
                f"weights {manifest.version} must be acknowledged by {', '.join(behind)}; no receipt came back"
            )

    def _remove_files(self) -> None:
        for path in self._directory.glob(f"{NAME_STEM}*"):
            _remove(path)

    def _write(self, learner: Learner, *, version: int) -> WeightManifest:
        """Write beside, then rename: what has its final name is whole."""
        unfinished = self._directory / f"{NAME_STEM}{version:08d}.unfinished"
        manifest = learner.write_weights(unfinished, version=version)
        assert manifest.version == version, f"asked for weights {version}, the learner wrote {manifest.version}"
        path = unfinished.with_suffix(".safetensors" if manifest.kind == "full" else ".adapter")
        if path.is_dir():
            # A folder is not replaced by a rename, as a file is.
            shutil.rmtree(path)
        unfinished.replace(path)
        if path not in self._published:
            self._published.append(path)
        return replace(manifest, path=str(path.resolve()))


def _remove(path: Path) -> None:
    """A weight file, or the folder of an adapter."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _check(receipts: Sequence[WeightReceipt], manifest: WeightManifest) -> None:
    for receipt in receipts:
        if (receipt.version, receipt.checksum) != (manifest.version, manifest.checksum):
            raise WeightSyncError(
                f"generator {receipt.generator} must serve weights {manifest.version} with checksum "
                f"{manifest.checksum}; it acknowledged {receipt.version} with {receipt.checksum}: restart it"
            )
