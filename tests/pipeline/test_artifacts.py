from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import xxhash

from rlpost.errors import ArtifactError
from rlpost.pipeline.artifacts import MODEL, Manifest, hash_model, read_manifest, write_manifest
from rlpost.platform.content import file_hash


def artifact(directory: Path) -> Manifest:
    (directory / MODEL / "adapter").mkdir(parents=True)
    (directory / MODEL / "config.json").write_text("{}")
    (directory / MODEL / "adapter" / "a.bin").write_bytes(b"\x00\x01")
    model_hash, files = hash_model(directory / MODEL)
    manifest = Manifest(
        stage="sft",
        kind="sft",
        inputs_hash="1",
        parents={"base": "2"},
        model_hash=model_hash,
        files=files,
        rlpost_version="0",
        trust_remote_code=False,
        seconds=1.5,
        scores={"pass@1": 0.5},
        evaluation_hash="3",
    )
    write_manifest(directory, manifest)
    return manifest


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = artifact(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert set(manifest.files) == {"config.json", "adapter/a.bin"}
    write_manifest(tmp_path, replace(manifest, scores={}))
    assert read_manifest(tmp_path) == replace(manifest, scores={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "model"]


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "nowhere") is None
    artifact(tmp_path)
    (tmp_path / "manifest.json").rename(tmp_path / "writing-manifest.json")
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("name", ["config.json", "adapter/a.bin"])
def test_a_changed_or_missing_model_file_is_refused(tmp_path: Path, name: str) -> None:
    artifact(tmp_path)
    file = tmp_path / MODEL / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=f"{name} must be as it was .* missing or changed: remove"):
        read_manifest(tmp_path)
    file.unlink()
    with pytest.raises(ArtifactError, match=name):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": "sft"}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"must be a manifest of rlpost; .*: remove .* to make it again"):
        read_manifest(tmp_path)


def test_the_hash_of_a_model_follows_names_and_bytes_of_its_files_only(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"a" * 100)
    assert hash_model(tmp_path / "one") == hash_model(tmp_path / "two")
    assert file_hash(tmp_path / "one" / "a") == xxhash.xxh3_128_hexdigest(b"a" * 100)
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "b")
    assert hash_model(tmp_path / "one")[0] != hash_model(tmp_path / "two")[0]


def test_a_linked_file_counts_with_what_it_links_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("weights")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").symlink_to(tmp_path / "real")
    before = hash_model(tmp_path / "model")
    (tmp_path / "real").write_text("other")
    assert hash_model(tmp_path / "model") != before
