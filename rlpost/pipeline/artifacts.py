"""Artifacts: the folder of a finished stage, with a manifest of its inputs and its files.

<run>/stages/02-sft/manifest.json     written last; a folder without it is not an artifact
model/            config, safetensors, tokenizer, chat template
metrics.jsonl ... whatever the stage wrote
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import xxhash

from rlpost.errors import ArtifactError
from rlpost.platform.content import file_hash
from rlpost.recipe.stages import Product

MANIFEST = "manifest.json"
MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of an artifact about itself."""

    stage: str
    kind: str
    inputs_hash: str
    """Hash of everything that decides the result: stage, model, data, rewards, parent, seed."""
    parents: dict[str, str]
    """Stage, `base` or model directory -> hash of its model files."""
    model_hash: str
    """Hash of the files in `model/`."""
    files: dict[str, str]
    """Path -> xxh3-128, for every file in `model/`."""
    rlpost_version: str
    trust_remote_code: bool
    seconds: float
    scores: dict[str, float] = field(default_factory=dict[str, float])
    produces: Product = "language_model"
    went_on: list[str] = field(default_factory=list[str])
    """If the stage went on with work from other inputs (`--go-on-with`), the keys that had changed."""
    evaluation_hash: str = ""
    """Hash of everything that decides the scores."""


def read_manifest(directory: Path) -> Manifest | None:
    """Read the manifest; None if there is no finished artifact.

    Raises:
        ArtifactError: the manifest cannot be read, or a model file is missing or has changed.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path} must be a manifest of rlpost; {error}: remove {directory} to make it again"
        ) from error
    for name, expected in manifest.files.items():
        if not (directory / MODEL / name).exists() or file_hash(directory / MODEL / name) != expected:
            raise ArtifactError(
                f"{directory / MODEL / name} must be as it was when its stage finished; it is missing or changed: "
                f"remove {directory} to make it again, or start over with --fresh"
            )
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically."""
    beside = directory / f"writing-{MANIFEST}"
    beside.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    beside.rename(directory / MANIFEST)


def hash_model(directory: Path) -> tuple[str, dict[str, str]]:
    """Hash a model folder and each of its files."""
    files = {
        str(path.relative_to(directory)): file_hash(path) for path in sorted(directory.rglob("*")) if path.is_file()
    }
    return text_hash(json.dumps(files, sort_keys=True)), files


def bytes_hash(content: bytes) -> str:
    """Return the xxh3-128 of bytes."""
    return xxhash.xxh3_128_hexdigest(content)


def text_hash(text: str) -> str:
    """Return the xxh3-128 of a text."""
    return xxhash.xxh3_128_hexdigest(text.encode())
