from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from rlpost.errors import WeightSyncError
from rlpost.interfaces import Generator, Learner
from rlpost.records import WeightManifest, WeightReceipt
from rlpost.weight_file import checksum_of, write_weight_file
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
        self.engines: Sequence[str] = ("one", "two")

    def pull_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        self.counts.append(int(load_file(manifest.path)["count"]))
        checksum = checksum_of(manifest.path)
        receipts = [
            WeightReceipt(generator=name, version=manifest.version, checksum=checksum, seconds=0.1)
            for name in self.engines
        ]
        return [replace(receipt, **self.spoil) if receipt.generator == "two" else receipt for receipt in receipts]


def store_of(directory: Path, generators: ReadingGenerators) -> SharedMemoryStore:
    return SharedMemoryStore(directory, cast(Generator, generators))


def learner() -> Learner:
    return cast(Learner, CountingLearner())


def test_generators_read_what_the_learner_wrote(tmp_path: Path) -> None:
    generators, source = ReadingGenerators(), learner()
    store = store_of(tmp_path, generators)
    report = [store.publish(source, version=version) for version in (1, 2)][-1]
    assert generators.counts == [1, 2]
    assert report.version == 2
    assert [receipt.generator for receipt in report.receipts] == ["one", "two"]
    assert report.byte_count == (tmp_path / "weights-00000002.safetensors").stat().st_size
    assert report.write_seconds > 0
    assert report.pull_seconds > 0


def test_the_current_and_the_previous_version_stay_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "weights-00000099.unfinished").write_bytes(b"left by a killed run")
    store, source = store_of(tmp_path, ReadingGenerators()), learner()
    for version in range(1, 6):
        store.publish(source, version=version)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["weights-00000004.safetensors", "weights-00000005.safetensors"]


def test_closing_removes_the_store_s_files_and_no_other(tmp_path: Path) -> None:
    foreign = tmp_path / "shared" / "notes.txt"
    for directory in (tmp_path / "own", foreign.parent):
        directory.mkdir()
    foreign.write_text("not ours")
    for directory in (tmp_path / "own", foreign.parent):
        store = store_of(directory, ReadingGenerators())
        store.publish(learner(), version=1)
        store.close()
        store.close()
    assert not (tmp_path / "own").exists()
    assert [path.name for path in foreign.parent.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("spoil", [{"version": 0}, {"checksum": "0" * 32}])
def test_a_receipt_of_other_weights_names_its_generator(tmp_path: Path, spoil: dict[str, object]) -> None:
    store = store_of(tmp_path, ReadingGenerators(**spoil))
    with pytest.raises(WeightSyncError, match=r"generator two must serve weights 1 .*it acknowledged") as caught:
        store.publish(learner(), version=1)
    assert str(next(iter(spoil.values()))) in str(caught.value)


def test_no_receipt_is_an_error(tmp_path: Path) -> None:
    generators = ReadingGenerators()
    generators.engines = ()
    with pytest.raises(WeightSyncError, match="no receipt"):
        store_of(tmp_path, generators).publish(learner(), version=1)


def test_the_directory_is_in_memory_if_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpost.weight_sync.store.SHARED_MEMORY", tmp_path)
    assert default_directory("run", byte_count=1) == tmp_path / "rlpost-run"
    elsewhere = default_directory("run", byte_count=10**18)
    assert elsewhere.name == "rlpost-run"
    assert elsewhere.parent != tmp_path
    monkeypatch.setattr("rlpost.weight_sync.store.SHARED_MEMORY", tmp_path / "missing")
    assert default_directory("run", byte_count=1) == elsewhere
