"""A weight store for one node: a folder of weight files, in shared memory if it has room."""

from __future__ import annotations

import fcntl
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
"""Number of versions that stay after a pull: the current one and the previous one."""


def default_directory(run_name: str, *, byte_count: int) -> Path:
    """Choose a folder for the weight files of a run: in shared memory if it has room, else in the temporary folder.

    Args:
        run_name: Unique among the runs of this node. A run that is started again under its old name reuses its folder,
            so that files left by a killed run do not stay in memory.
        byte_count: Size of one version of the weights.
    """
    folder = f"rlpost-{run_name}"
    in_memory = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    if in_memory and shutil.disk_usage(SHARED_MEMORY).free >= (KEPT + 1) * byte_count:
        return SHARED_MEMORY / folder
    return Path(tempfile.gettempdir()) / folder


class SharedMemoryStore:
    """A `WeightStore` that publishes weights as files, which the generators of this node pull."""

    def __init__(self, directory: Path, generator: Generator) -> None:
        """Take over `directory`, and remove weight files that a killed run left in it.

        Raises:
            WeightSyncError: another store uses it, even one of another container that shares this machine's memory, or
                it belongs to another user.
        """
        self._directory = directory
        self._lock: int | None = _locked(directory)
        self._remove_files()
        self._generator = generator
        self.published = 0
        """Publications that were begun so far; after one, generators hold other weights than before."""
        self._published: list[Path] = []
        self._puller = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weight sync")
        self._pulling: Future[PublishReport] | None = None

    def publish(self, learner: Learner, *, version: int, keep_kv_cache: bool) -> Future[PublishReport]:
        """Write this version, then in the background let every generator pull it, and check each receipt.

        Returns when the weights are written, so that the learner may change them. The current and the previous version
        stay on disk, so that a generator that starts late finds the version that it was told to load.

        Raises:
            WeightSyncError: the previous publication failed. A failure of this one is raised by the returned future.
        """
        before, self._pulling = self._pulling, None
        if before is not None:
            # The generators' own deadline for a pull bounds this wait.
            with WAITS.until(f"the pull before weights {version}"):
                before.result()
        start = time.monotonic()
        self.published += 1
        manifest = self._write(learner, version=version)
        self._pulling = self._puller.submit(
            self._pull, manifest, write_seconds=time.monotonic() - start, keep_kv_cache=keep_kv_cache
        )
        return self._pulling

    def close(self) -> None:
        """Wait for an open pull, then remove the weight files, and the folder if it is empty. Idempotent."""
        self._puller.shutdown(wait=True)
        self._remove_files()
        if self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _pull(self, manifest: WeightManifest, *, write_seconds: float, keep_kv_cache: bool) -> PublishReport:
        """Let the generators pull; runs on the store's thread."""
        start = time.monotonic()
        receipts = self._generator.pull_weights(manifest, keep_kv_cache=keep_kv_cache)
        if not receipts:
            self._check_that_none_serves(manifest)
        _check(receipts, manifest)
        # Removed only now: a generator may read an older version until its receipt arrives.
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
        """Check that all engines are restarting, if there is no receipt; they pull the weights before they serve."""
        behind = [load.generator for load in self._generator.loads() if load.version < manifest.version]
        if behind:
            raise WeightSyncError(
                f"weights {manifest.version} must be acknowledged by {', '.join(behind)}; no receipt came back"
            )

    def _remove_files(self) -> None:
        for path in self._directory.glob(f"{NAME_STEM}*"):
            _remove(path)

    def _write(self, learner: Learner, *, version: int) -> WeightManifest:
        """Write under a temporary name, then rename, so that a file with its final name is complete."""
        unfinished = self._directory / f"{NAME_STEM}{version:08d}.unfinished"
        manifest = learner.write_weights(unfinished, version=version)
        assert manifest.version == version, f"asked for weights {version}, the learner wrote {manifest.version}"
        path = unfinished.with_suffix(".safetensors" if manifest.kind == "full" else ".adapter")
        if path.is_dir():
            # A rename replaces a file, but not a folder.
            shutil.rmtree(path)
        unfinished.replace(path)
        if path not in self._published:
            self._published.append(path)
        return replace(manifest, path=str(path.resolve()))


def _locked(directory: Path) -> int:
    """Make the folder and take the kernel's lock on it, which ends with this process. Return its descriptor.

    Raises:
        WeightSyncError: it is another user's, or another process has the lock.
    """
    while True:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # its store has just been closed
            continue
        except OSError as error:
            raise WeightSyncError(f"{directory} must be a folder that this user can read; {error}") from error
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise WeightSyncError(f"{directory} must belong to this user; it is another's: set another output")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if directory.exists() and os.path.samestat(directory.stat(), os.fstat(descriptor)):
                return descriptor  # otherwise its store was closed in between, which removed it
        except BlockingIOError as error:
            os.close(descriptor)
            raise WeightSyncError(
                f"only one run may keep its weights in {directory}; another one does, here or in a container "
                "that shares this machine's memory: wait for it, or set output to another folder"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a weight file or an adapter's folder."""
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
