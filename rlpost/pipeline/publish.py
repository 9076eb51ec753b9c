"""Turns a stage's work folder into an artifact: hashes the model, writes the manifest, gives the folder its final
name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rlpost import __version__
from rlpost.pipeline.artifacts import MODEL, Manifest, hash_model, write_manifest
from rlpost.pipeline.run_directory import StagePaths
from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import Product
from rlpost.stages.checkpoint_files import publish


def publish_artifact(
    paths: StagePaths,
    recipe: Recipe,
    *,
    stage: str,
    kind: str,
    produces: Product,
    parents: dict[str, str],
    started: float,
    inputs_hash: str,
    scores: dict[str, float],
    went_on: Sequence[str] = (),
) -> Manifest:
    """Publish the artifact. `started` is a time of `time.perf_counter`; `scores` are those that the stage measured
    itself.
    """
    model_hash, files = hash_model(paths.work / MODEL)
    manifest = Manifest(
        stage=stage,
        kind=kind,
        produces=produces,
        inputs_hash=inputs_hash,
        parents=parents,
        model_hash=model_hash,
        files=files,
        rlpost_version=__version__,
        seconds=round(time.perf_counter() - started, 1),
        trust_remote_code=recipe.model.trust_remote_code,
        scores=scores,
        went_on=list(went_on),
    )
    write_manifest(paths.work, manifest)
    publish(paths.work, paths.final)
    return manifest
