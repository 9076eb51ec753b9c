"""What decides a stage's result, as one hash: equal hash, equal result, so a finished stage is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlpost import __version__
from rlpost.data.chat import chat_template_source
from rlpost.pipeline.artifacts import file_hash, hash_model, text_hash
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import DataConfig, ModelConfig, TokenizerTraining
from rlpost.recipe.stages import AnyStage, DpoStage, GrpoStage


def base_inputs_hash(recipe: Recipe) -> str:
    """Of the model before the first stage."""
    tokenizer = recipe.model.tokenizer
    names = tokenizer.data if isinstance(tokenizer, TokenizerTraining) else []
    return _hash(model=_model_identity(recipe.model), data=_data(recipe, names), seed=recipe.seed)


def stage_inputs_hash(recipe: Recipe, stage: AnyStage, *, parent_hash: str) -> str:
    """Of a stage on the artifact with this model hash. Gates and checkpoint intervals do not change the result."""
    stage_dump = stage.model_dump(mode="json", exclude={"require": True, "learner": {"checkpoint_every": True}})
    judged = isinstance(stage, GrpoStage) or (isinstance(stage, DpoStage) and stage.own_samples is not None)
    return _hash(
        stage=stage_dump,
        parent=parent_hash,
        model={"dtype": recipe.model.dtype, "max_length": recipe.model.max_length},
        data=_data(recipe, stage.data),
        held_out=_data(recipe, recipe.evaluate.data if recipe.evaluate else []),
        rewards=_rewards(recipe) if judged else None,
        seed=recipe.seed,
        deterministic=recipe.deterministic,
    )


def evaluation_hash(recipe: Recipe, *, model_hash: str) -> str:
    """Of what decides the held-out scores of an artifact."""
    assert recipe.evaluate is not None
    return _hash(
        model=model_hash,
        evaluate=recipe.evaluate.model_dump(mode="json"),
        data=_data(recipe, recipe.evaluate.data),
        rewards=_rewards(recipe),
        seed=recipe.seed,
    )


def _model_identity(config: ModelConfig) -> dict[str, Any]:
    """Of templates and tokenizers, what they hold counts; of a given model, where it lies (its files are checked)."""
    identity: dict[str, Any] = config.model_dump(mode="json")
    if config.chat_template is not None:
        identity["chat_template"] = chat_template_source(config.chat_template)
    if isinstance(config.tokenizer, str) and Path(config.tokenizer).is_dir():
        identity["tokenizer"] = hash_model(Path(config.tokenizer))[0]
    return identity


def _rewards(recipe: Recipe) -> dict[str, Any] | None:
    judging = recipe.judging()
    return judging.model_dump(mode="json") if judging else None


def _data(recipe: Recipe, names: list[str]) -> dict[str, Any]:
    return {name: _data_identity(recipe.data[name]) for name in names}


def _data_identity(config: DataConfig) -> dict[str, Any]:
    identity: dict[str, Any] = config.model_dump(mode="json")
    kind, _, rest = config.source.partition(":")
    if kind in ("jsonl", "parquet") and Path(rest).is_file():
        # What a file holds counts, not where it lies.
        identity["source"] = f"{kind}:{file_hash(Path(rest))}"
    return identity


def _hash(**parts: Any) -> str:
    return text_hash(json.dumps({"rlpost": __version__, **parts}, sort_keys=True))
