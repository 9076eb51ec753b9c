"""Makes and checks everything that needs no device: the base model, the data, every stage's inputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rlpost.data.chat import ChatFormat, model_stop_ids
from rlpost.data.library import DataLibrary
from rlpost.data.preference import pairs_from_examples
from rlpost.data.rows import demonstration_rows, document_rows
from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.data.tokenizer import load_tokenizer
from rlpost.errors import ModelError
from rlpost.pipeline.artifacts import MODEL, Manifest, read_manifest
from rlpost.pipeline.base import build_base, has_tokenizer
from rlpost.pipeline.lineage import DataIdentities, base_inputs_hash, data_identities
from rlpost.pipeline.publish import publish_artifact
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.recipe.check_starts import merged_models
from rlpost.recipe.model_layout import refuse_difference
from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import AnyStage
from rlpost.scoring.routes import refuse_unrouted
from rlpost.telemetry.console import Console


class Prepared(NamedTuple):
    """The results that all stages share."""

    base: Manifest
    data: DataLibrary
    identities: DataIdentities
    """Identities of the data sets at the time their rows were read."""


def prepare(recipe: Recipe, run: RunDirectory, console: Console) -> Prepared:
    """Make the base artifact, read the data, and check that it meets every stage's needs.

    Raises:
        DataError: a data set cannot be read, a row lacks a column, or a prompt does not fit the model.
        ModelError: the model or its chat template cannot be used.
        RewardError: a prompt whose answers are judged has no route.
    """
    identities = data_identities(recipe)
    base = _base(recipe, run, console, identities)
    model_dir = run.base.final / MODEL
    tokenizer = load_tokenizer(str(model_dir), trust_remote_code=recipe.model.trust_remote_code)
    chat = ChatFormat(tokenizer, model_stops=model_stop_ids(model_dir))
    if chat.unwritten_beginning is not None:
        console.say(
            f"NOTE: the tokenizer begins every text with {chat.unwritten_beginning}, and the chat template does not "
            "write it, so conversations are without it. rlpost:tulu_bos is rlpost:tulu with it"
        )
    data = DataLibrary(recipe, chat, say=console.say)
    for stage in recipe.stages:
        _check_stage_data(stage, data, recipe)
        _check_merged(stage, recipe, base=model_dir, vocabulary=tokenizer.get_vocab())
    if recipe.evaluate is not None:
        refuse_unrouted(recipe, data.held_out_prompts(max_tokens=recipe.evaluate.sampling.max_tokens))
    return Prepared(base, data, identities)


def _base(recipe: Recipe, run: RunDirectory, console: Console, identities: DataIdentities) -> Manifest:
    paths, wanted = run.base, base_inputs_hash(recipe, data=identities)
    manifest = read_manifest(paths.final)
    if manifest is not None and manifest.inputs_hash == wanted:
        return manifest
    console.say("base: writing the model that the first stage starts from")
    started = time.perf_counter()
    paths.restart(wanted, settings={})
    build_base(recipe, paths.work / MODEL)
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
        prompts = data.prompts(stage.data_sets, stage=stage.name, max_tokens=sampled.config.max_tokens)
        refuse_unrouted(recipe, prompts)
        _check_sampler(stage, [prompt.id for prompt in prompts])
        return
    use = stage.data_use
    if use is None or use == "judging":
        return
    examples = data.examples(stage.data_sets, stage=stage.name, use=use)
    demonstrations = partial(demonstration_rows, train_on=stage.trained_turns)
    make = {"cpt": document_rows, "sft": demonstrations, "pairs": pairs_from_examples}[use]
    _check_sampler(stage, make(examples, chat=data.format, max_length=recipe.model.max_length).row_ids)


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
