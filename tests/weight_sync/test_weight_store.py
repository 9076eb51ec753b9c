from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.errors import WeightSyncError
from rlpost.interfaces import Generator, Learner
from rlpost.weight_file import ADAPTER_FILE, checksum_of, write_weight_file
from rlpost.weight_sync.store import SharedMemoryStore, default_directory


class CountingLearner:
    """Its only weight is the number of times that it was written."""

    def __init__(self) -> None:
        self.writes = 0

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        self.writes += 1
        return write_weight_file({"count": torch.tensor([self.writes])}, path, version=version)


class ReadingGenerators:
    """Two engines that read the file in earnest; `spoil` replaces fields of the second one's receipt."""

    def __init__(self, **spoil: object) -> None:
        self.spoil = spoil
        self.counts: list[int] = []
        self.kept: list[bool] = []
        self.engines: Sequence[str] = ("one", "two")
        self.serving: Mapping[str, int] = {}
        self.started = threading.Event()
        self.may_read = threading.Event()
        self.may_read.set()

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        self.started.set()
        assert self.may_read.wait(timeout=10)
        self.kept.append(keep_kv_cache)
        self.counts.append(int(load_file(manifest.path)["count"]))
        checksum = checksum_of(manifest.path)
        receipts = [
            WeightReceipt(generator=name, version=manifest.version, checksum=checksum, seconds=0.1)
            for name in self.engines
        ]
        return [replace(receipt, **self.spoil) if receipt.generator == "two" else receipt for receipt in receipts]

    def loads(self) -> list[EngineLoad]:
        rest = {
            "limit": 1,
            "running": 0,
            "waiting": 0,
            "kv_cache_use": 0.0,
            "preemptions": 0,
            "tokens": 0,
            "busy_s": 0.0,
        }
        return [EngineLoad(generator=name, version=version, **rest) for name, version in self.serving.items()]


def store_of(directory: Path, generators: ReadingGenerators) -> SharedMemoryStore:
    return SharedMemoryStore(directory, cast(Generator, generators))


def learner() -> Learner:
    return cast(Learner, CountingLearner())


def test_generators_read_what_the_learner_wrote(tmp_path: Path) -> None:
    generators, source = ReadingGenerators(), learner()
    store = store_of(tmp_path, generators)
    report = [store.publish(source, version=version, keep_kv_cache=version == 2).result() for version in (1, 2)][-1]
    assert generators.counts == [1, 2]
    assert generators.kept == [False, True]
    assert report.version == 2
    assert [receipt.generator for receipt in report.receipts] == ["one", "two"]
    assert report.byte_count == (tmp_path / "weights-00000002.safetensors").stat().st_size
    assert report.write_seconds > 0
    assert report.pull_seconds > 0


def test_the_current_and_the_previous_version_stay_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "weights-00000099.unfinished").write_bytes(b"left by a killed run")
    store, source = store_of(tmp_path, ReadingGenerators()), learner()
    for version in range(1, 6):
        store.publish(source, version=version, keep_kv_cache=False).result()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["weights-00000004.safetensors", "weights-00000005.safetensors"]


def test_closing_removes_the_store_s_files_and_no_other(tmp_path: Path) -> None:
    foreign = tmp_path / "shared" / "notes.txt"
    for directory in (tmp_path / "own", foreign.parent):
        directory.mkdir()
    foreign.write_text("not ours")
    for directory in (tmp_path / "own", foreign.parent):
        store = store_of(directory, ReadingGenerators())
        store.publish(learner(), version=1, keep_kv_cache=False).result()
        store.close()
        store.close()
    assert not (tmp_path / "own").exists()
    assert [path.name for path in foreign.parent.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("spoil", [{"version": 0}, {"checksum": "0" * 32}])
def test_a_receipt_of_other_weights_names_its_generator(tmp_path: Path, spoil: dict[str, object]) -> None:
    store = store_of(tmp_path, ReadingGenerators(**spoil))
    with pytest.raises(WeightSyncError, match=r"generator two must serve weights 1 .*it acknowledged") as caught:
        store.publish(learner(), version=1, keep_kv_cache=False).result()
    assert str(next(iter(spoil.values()))) in str(caught.value)


def test_no_receipt_from_engines_that_serve_older_weights_is_an_error(tmp_path: Path) -> None:
    generators = ReadingGenerators()
    generators.engines, generators.serving = (), {"one": 0}
    with pytest.raises(WeightSyncError, match="acknowledged by one; no receipt"):
        store_of(tmp_path, generators).publish(learner(), version=1, keep_kv_cache=False).result()


@pytest.mark.parametrize("serving", [{}, {"one": 1}], ids=["none is back", "one came back and has them"])
def test_no_receipt_is_none_the_worse_while_all_engines_come_back_from_a_death(
    tmp_path: Path, serving: dict[str, int]
) -> None:
    generators = ReadingGenerators()
    generators.engines, generators.serving = (), serving
    report = store_of(tmp_path, generators).publish(learner(), version=1, keep_kv_cache=False).result()
    assert (report.version, report.receipts) == (1, ())


def test_publish_returns_when_the_weights_are_written_and_before_they_are_pulled(tmp_path: Path) -> None:
    generators, source = ReadingGenerators(), CountingLearner()
    generators.may_read.clear()
    store = store_of(tmp_path, generators)
    result = store.publish(cast(Learner, source), version=1, keep_kv_cache=False)
    assert source.writes == 1
    assert generators.started.wait(timeout=10)
    assert not result.done()
    generators.may_read.set()
    assert result.result(timeout=10).version == 1


def test_a_second_publication_waits_for_the_first_before_it_writes(tmp_path: Path) -> None:
    generators, source = ReadingGenerators(), CountingLearner()
    generators.may_read.clear()
    store = store_of(tmp_path, generators)
    first = store.publish(cast(Learner, source), version=1, keep_kv_cache=False)
    second = threading.Thread(
        target=lambda: store.publish(cast(Learner, source), version=2, keep_kv_cache=False), daemon=True
    )
    second.start()
    second.join(timeout=0.1)
    assert second.is_alive()
    assert source.writes == 1
    generators.may_read.set()
    second.join(timeout=10)
    store.close()
    assert first.done()
    assert generators.counts == [1, 2]


def test_an_error_comes_with_the_result_and_stops_the_publication_after_it(tmp_path: Path) -> None:
    store, source = store_of(tmp_path, ReadingGenerators(version=0)), CountingLearner()
    failed = store.publish(cast(Learner, source), version=1, keep_kv_cache=False)
    with pytest.raises(WeightSyncError, match="generator two must serve weights 1"):
        failed.result(timeout=10)
    with pytest.raises(WeightSyncError, match="generator two must serve weights 1"):
        store.publish(cast(Learner, source), version=2, keep_kv_cache=False)
    assert source.writes == 1


def test_files_of_older_versions_stay_until_the_new_one_is_acknowledged(tmp_path: Path) -> None:
    generators, source = ReadingGenerators(), learner()
    store = store_of(tmp_path, generators)
    for version in (1, 2):
        store.publish(source, version=version, keep_kv_cache=False).result()
    generators.may_read.clear()
    third = store.publish(source, version=3, keep_kv_cache=False)
    assert len(list(tmp_path.iterdir())) == 3
    generators.may_read.set()
    third.result(timeout=10)
    assert len(list(tmp_path.iterdir())) == 2


def test_close_waits_for_a_pull_under_way(tmp_path: Path) -> None:
    generators = ReadingGenerators()
    generators.may_read.clear()
    store = store_of(tmp_path, generators)
    result = store.publish(learner(), version=1, keep_kv_cache=False)
    threading.Timer(0.1, generators.may_read.set).start()
    store.close()
    assert result.done()
    assert result.result().version == 1
    assert not tmp_path.exists()


class AdapterLearner:
    """Writes folders, as peft does."""

    def write_weights(self, path: Path, *, version: int) -> WeightManifest:
        path.mkdir()
        (path / "adapter_config.json").write_text("{}")
        manifest = write_weight_file({"count": torch.tensor([version])}, path / ADAPTER_FILE, version=version)
        return replace(manifest, path=str(path), kind="adapter")


class AdapterReaders(ReadingGenerators):
    """Read the file inside the folder."""

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        assert manifest.kind == "adapter"
        assert (Path(manifest.path) / "adapter_config.json").is_file()
        inside = replace(manifest, path=str(Path(manifest.path) / ADAPTER_FILE))
        return super().pull_weights(inside, keep_kv_cache=keep_kv_cache)


def test_adapters_are_published_and_removed_as_folders(tmp_path: Path) -> None:
    generators, source = AdapterReaders(), cast(Learner, AdapterLearner())
    store = store_of(tmp_path, generators)
    for version in (1, 2, 3, 3):
        store.publish(source, version=version, keep_kv_cache=False).result()
    assert generators.counts == [1, 2, 3, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights-00000002.adapter", "weights-00000003.adapter"]
    store.close()
    assert not tmp_path.exists()


def test_the_directory_is_in_memory_if_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpost.weight_sync.store.SHARED_MEMORY", tmp_path)
    assert default_directory("run", byte_count=1) == tmp_path / "rlpost-run"
    elsewhere = default_directory("run", byte_count=10**18)
    assert elsewhere.name == "rlpost-run"
    assert elsewhere.parent != tmp_path
    monkeypatch.setattr("rlpost.weight_sync.store.SHARED_MEMORY", tmp_path / "missing")
    assert default_directory("run", byte_count=1) == elsewhere


HOLD_A_STORE = """
import sys
from pathlib import Path
from rlpost.weight_sync.store import SharedMemoryStore
store = SharedMemoryStore(Path(sys.argv[1]), None)
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_and_not_emptied_until_its_process_ends(tmp_path: Path) -> None:
    directory = tmp_path / "weights"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_STORE, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
        weights = directory / "weights-00000001.safetensors"
        weights.write_bytes(b"in use")
        with pytest.raises(WeightSyncError, match="only one run may keep its weights in"):
            store_of(directory, ReadingGenerators())
        assert weights.read_bytes() == b"in use"
        holder.kill()
    store = store_of(directory, ReadingGenerators())
    assert not weights.exists()
    store.close()
    assert not directory.exists()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightSyncError, match="must be a folder"):
        store_of(tmp_path / "link", ReadingGenerators())
