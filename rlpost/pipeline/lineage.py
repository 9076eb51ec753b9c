"""Hashes of everything that decides a stage's result: an equal hash means an equal result, so a finished stage is
reused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rlpost import __version__
from rlpost.data.chat_template import chat_template_source
from rlpost.data.sources import load_solution
from rlpost.pipeline.artifacts import hash_model, text_hash
from rlpost.pipeline.code_identity import code_of_function, code_of_reference, library_versions
from rlpost.platform.content import file_hash
from rlpost.plugins import names_file
from rlpost.recipe.plugin_reference import plugins_of
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import FILE_KINDS, DataConfig, ModelConfig, TokenizerTraining
from rlpost.recipe.stages import AnyStage, Parent, RecipePart
from rlpost.scoring.registry import resolve

DataIdentities = Mapping[str, Any]
"""Data set -> an identity of its rows."""


def data_identities(recipe: Recipe) -> DataIdentities:
    """Identify every data set of the recipe, just before its rows are read, so that both refer to the same file
    content.
    """
    tokenizer = recipe.model.tokenizer
    used = {name for stage in recipe.stages for name in stage.data_sets}
    used |= set(recipe.evaluate.data) if recipe.evaluate is not None else set()
    used |= set(tokenizer.data) if isinstance(tokenizer, TokenizerTraining) else set()
    return {name: _data_identity(recipe.data[name]) for name in sorted(used)}


def base_inputs_hash(recipe: Recipe, *, data: DataIdentities) -> str:
    """Hash the inputs of the model before the first stage."""
    tokenizer = recipe.model.tokenizer
    names = tokenizer.data if isinstance(tokenizer, TokenizerTraining) else []
    return _hash(model=_model_identity(recipe.model), data=_chosen(data, names), seed=recipe.seed)


def stage_inputs_hash(recipe: Recipe, stage: AnyStage, *, parents: Mapping[str, str], data: DataIdentities) -> str:
    """Hash the inputs of a stage whose parents have these model hashes, each by its `parent_key`."""
    plugins = {use.reference: code_of_reference(use.reference) for use in plugins_of(stage)}
    return _hash(
        stage=_with_code(stage.settings(), plugins),
        parents=parents,
        data=_chosen(data, stage.data_sets),
        recipe={part: _recipe_part(recipe, part, data=data) for part in stage.depends_on},
    )


def parent_key(parent: Parent) -> str:
    """Return the key of a parent among those of its stage, for example `value.start`."""
    return ".".join(map(str, parent.key))


def _recipe_part(recipe: Recipe, part: RecipePart, *, data: DataIdentities) -> Any:
    values: dict[RecipePart, Callable[[], Any]] = {
        "base": lambda: base_inputs_hash(recipe, data=data),
        "model.dtype": lambda: recipe.model.dtype,
        "model.max_length": lambda: recipe.model.max_length,
        "held_out": lambda: _chosen(data, recipe.evaluate.data if recipe.evaluate else []),
        "rewards": lambda: _rewards(recipe),
        "seed": lambda: recipe.seed,
        "deterministic": lambda: recipe.deterministic,
    }
    return values[part]()


def evaluation_hash(recipe: Recipe, *, model_hash: str, data: DataIdentities) -> str:
    """Hash everything that decides the held-out scores of an artifact."""
    assert recipe.evaluate is not None
    return _hash(
        model=model_hash,
        evaluate=recipe.evaluate.model_dump(mode="json"),
        data=_chosen(data, recipe.evaluate.data),
        rewards=_rewards(recipe),
        seed=recipe.seed,
    )


def _model_identity(config: ModelConfig) -> dict[str, Any]:
    """Identify templates and tokenizers by their content, and a given model by its path (its files are checked)."""
    identity: dict[str, Any] = config.model_dump(mode="json")
    if config.chat_template is not None:
        identity["chat_template"] = chat_template_source(config.chat_template)
    if config.path is not None and Path(config.path).is_dir():
        files = [file for file in sorted(Path(config.path).iterdir()) if file.is_file()]
        identity["small_files"] = {file.name: file_hash(file) for file in files if file.suffix != ".safetensors"}
    if isinstance(config.tokenizer, str) and Path(config.tokenizer).is_dir():
        identity["tokenizer"] = hash_model(Path(config.tokenizer))[0]
    return identity


def _rewards(recipe: Recipe) -> dict[str, Any] | None:
    """Identify the rewards: routes, and the verifiers behind them by version, source, helpers, libraries."""
    judging = recipe.judging()
    if judging is None:
        return None
    names = sorted({name for node in judging.routes.values() for name in node.verifiers()})
    verifiers = {name: resolve(name) for name in names}
    code = {name: [verifier.spec.version, code_of_function(verifier.function)] for name, verifier in verifiers.items()}
    # The fault limits for pausing or stopping a run do not affect its scores.
    return _with_code(judging.model_dump(mode="json", exclude={"on_faults"}), code)


def _with_code(content: Any, code: Mapping[str, Any]) -> Any:
    """Put the identity of the code behind a name next to it, and leave out the folder of a name that names a file."""
    if isinstance(content, dict):
        return {key: _with_code(value, code) for key, value in cast("dict[str, Any]", content).items()}
    if isinstance(content, list):
        return [_with_code(value, code) for value in cast("list[Any]", content)]
    if not isinstance(content, str) or content not in code:
        return content
    return [content.rpartition("/")[2] if names_file(content) else content, code[content]]


def _chosen(data: DataIdentities, names: Sequence[str]) -> DataIdentities:
    return {name: data[name] for name in names}


def _data_identity(config: DataConfig) -> dict[str, Any]:
    identity: dict[str, Any] = config.model_dump(mode="json")
    kind, _, rest = config.source.partition(":")
    # A file or folder is identified by its content, not by its path.
    if kind in FILE_KINDS and Path(rest).is_file():
        identity["source"] = f"{kind}:{file_hash(Path(rest))}"
    elif kind in ("parquet", "hf") and Path(rest).is_dir():
        identity["source"] = f"{kind}:{hash_model(Path(rest))[0]}"
    elif kind == "reasoning_gym":
        identity["library"] = library_versions("reasoning_gym")
    if config.solution is not None:
        identity["solution_code"] = code_of_function(load_solution(config.solution))
    return identity


def _hash(**parts: Any) -> str:
    return text_hash(json.dumps({"rlpost": __version__, **parts}, sort_keys=True))
