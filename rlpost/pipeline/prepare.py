"""Makes and checks everything that needs no device: the base model, the data, every stage's inputs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rlpost.data.chat import ChatFormat, model_stop_ids
from rlpost.data.library import DataLibrary, TokenPreparation
from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.data.tables.cache import DataCache
from rlpost.data.tokenizer import load_tokenizer
from rlpost.errors import ModelError
from rlpost.pipeline.artifacts import MODEL, Manifest, read_manifest
from rlpost.pipeline.base import build_base, has_tokenizer
from rlpost.pipeline.code_identity import library_versions
from rlpost.pipeline.lineage import DataIdentities, base_inputs_hash, data_identities
from rlpost.pipeline.publish import publish_artifact
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.platform.content import file_hash
from rlpost.recipe.check_starts import merged_models
from rlpost.recipe.model_layout import refuse_difference
from rlpost.recipe.schema import PreparationRole, Recipe
from rlpost.recipe.stages import AnyStage
from rlpost.scoring.routes import refuse_unrouted
from rlpost.telemetry.console import Console


class Prepared(NamedTuple):
    """The results that all stages share."""

    base: Manifest
    data: DataLibrary
    identities: DataIdentities
    """Identities of the data sets at the time their rows were read."""


def prepare(recipe: Recipe, run: RunDirectory, console: Console, *, where: PreparationRole) -> Prepared:
    """Make the base artifact, read the data, and check that it meets every stage's needs.

    Raises:
        DataError: a data set cannot be read, a row lacks a column, or a prompt does not fit the model.
        ModelError: the model or its chat template cannot be used.
        RewardError: a prompt whose answers are judged has no route.
    """
    identities = data_identities(recipe)
    cache = DataCache(Path(where.cache_dir).expanduser())
    base = _base(recipe, run, console, identities, cache=cache)
    model_dir = run.base.final / MODEL
    tokenizer = load_tokenizer(str(model_dir), trust_remote_code=recipe.model.trust_remote_code)
    chat = ChatFormat(tokenizer, model_stops=model_stop_ids(model_dir))
    if chat.unwritten_beginning is not None:
        console.say(
            f"NOTE: the tokenizer begins every text with {chat.unwritten_beginning}, and the chat template does not "
            "write it, so conversations are without it. rlpost:tulu_bos is rlpost:tulu with it"
        )
    preparation = TokenPreparation(
        model_dir=model_dir,
        chat_identity=_chat_identity(model_dir, chat),
        data_identities=identities,
        cache=cache,
        processes=where.processes or os.cpu_count() or 1,
    )
    data = DataLibrary(recipe, chat, preparation=preparation, console=console)
    for stage in recipe.stages:
        _check_stage_data(stage, data, recipe)
        _check_merged(stage, recipe, base=model_dir, vocabulary=tokenizer.get_vocab())
    if recipe.evaluate is not None:
        refuse_unrouted(recipe, data.held_out_prompts(max_tokens=recipe.evaluate.sampling.max_tokens).prompts)
    return Prepared(base, data, identities)


def _chat_identity(model_dir: Path, chat: ChatFormat) -> dict[str, Any]:
    """Identify everything besides a conversation that decides its tokens."""
    files = sorted(path for path in model_dir.iterdir() if path.is_file() and path.suffix != ".safetensors")
    return {
        "files": {path.name: file_hash(path) for path in files},
        "stops": list(chat.stop_token_ids),
        "libraries": [library_versions(name) for name in ("tokenizers", "transformers", "jinja2")],
    }


def _base(
    recipe: Recipe, run: RunDirectory, console: Console, identities: DataIdentities, *, cache: DataCache
) -> Manifest:
    paths, wanted = run.base, base_inputs_hash(recipe, data=identities)
    manifest = read_manifest(paths.final)
    if manifest is not None and manifest.inputs_hash == wanted:
        return manifest
    console.say("base: writing the model that the first stage starts from")
    started = time.perf_counter()
    paths.restart(wanted, settings={})
    build_base(recipe, paths.work / MODEL, cache=cache)
    return publish_artifact(
        paths,
        recipe,
        stage="base",
        kind="base",
        produces="language_model",
        parents={},
        started=started,
        inputs_hash=wanted,
        scores={},
    )


def _check_stage_data(stage: AnyStage, data: DataLibrary, recipe: Recipe) -> None:
    """Make the rows of a stage and discard them: this takes seconds now, whereas the stage may start hours later."""
    sampled = stage.samples_responses
    if sampled is not None:
        found = data.prompts(stage.data_sets, stage=stage.name, max_tokens=sampled.config.max_tokens)
        refuse_unrouted(recipe, found.prompts)
        _check_sampler(stage, found.row_ids)
        return
    use = stage.data_use
    if use is None or use == "judging":
        return
    make = {
        "cpt": data.documents,
        "sft": partial(data.demonstrations, train_on=stage.trained_turns),
        "pairs": data.pairs,
        "labelled": partial(data.judged, shape="labelled"),
        "rewarded": partial(data.judged, shape="rewarded"),
    }
    _check_sampler(stage, make[use](stage.data_sets, stage=stage.name).row_ids)


def _check_sampler(stage: AnyStage, row_ids: Sequence[str]) -> None:
    """Make the sampler of a stage over its rows and discard it."""
    if stage.training is not None:
        sampler_of(stage.training.sampler, SampledRows(row_ids), seed=0, rows_per_step=1)


def _check_merged(stage: AnyStage, recipe: Recipe, *, base: Path, vocabulary: Mapping[str, int]) -> None:
    """Hold the models that a stage merges against each other, and the given ones against the run's tokenizer."""
    models = list(dict.fromkeys(model for _, model in merged_models(recipe, stage, base=base)))
    for model in models[1:]:
        refuse_difference(models[0], model)
    for model in models:
        if model == base or not has_tokenizer(model):
            continue
        if load_tokenizer(str(model), trust_remote_code=recipe.model.trust_remote_code).get_vocab() != vocabulary:
            raise ModelError(
                f"stage {stage.name} gives the merged model the run's tokenizer, so every merged model must have its "
                f"vocabulary; that of {model} differs: merge models of one tokenizer, or set model.tokenizer to it"
            )
