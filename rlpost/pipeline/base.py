"""The artifact before the first stage: a given model directory, or a new model with its own tokenizer."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlpost.data.chat_template import chat_template_source
from rlpost.data.sources import open_examples
from rlpost.data.tables.cache import DataCache
from rlpost.data.tokenizer import load_tokenizer, tokenizer_texts, train_tokenizer
from rlpost.data.tokenizer_probe import refuse_dangerous_tokenizer
from rlpost.errors import ModelError, shortened
from rlpost.recipe.memory_words import shape_of
from rlpost.recipe.model_layout import weight_files, weight_paths
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import ModelConfig, TokenizerTraining
from rlpost.records import Example
from rlpost.weight_file import follow_umask

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_INDEX = "*.safetensors.index.json"
_WEIGHTS = ("*.safetensors", _INDEX)
_TOKENIZERS = ("tokenizer.json", "*.model", "vocab.*")
_CONFIGS = ("config.json", "generation_config.json", "*.py")


def build_base(recipe: Recipe, model_dir: Path, *, cache: DataCache) -> None:
    """Write the base model, its tokenizer and its chat template into `model_dir`.

    Raises:
        ModelError: the given directory is not a model, transformers does not know the config, or the model is too small
            for the tokenizer or for `model.max_length`.
    """
    if recipe.model.path is not None:
        recipe = _with_local_model(recipe, recipe.model.path)
        _check_weights(Path(recipe.model.path or ""))
    model_dir.mkdir(parents=True)
    tokenizer = base_tokenizer(recipe, cache=cache)
    tokenizer.save_pretrained(str(model_dir))
    config = _config(recipe, tokenizer=tokenizer)
    _check_fit(config, recipe, token_count=len(tokenizer))
    if recipe.model.path is not None:
        _link_given_model(Path(recipe.model.path), model_dir)
    else:
        _write_new_model(recipe, model_dir, config=config)


def base_tokenizer(recipe: Recipe, *, cache: DataCache) -> PreTrainedTokenizerBase:
    """Load or build the recipe's tokenizer, with its chat template.

    Raises:
        ModelError: the given directory has no tokenizer, or the template cannot be read.
    """
    tokenizer = _tokenizer(recipe, cache=cache)
    if recipe.model.chat_template is not None:
        tokenizer.chat_template = chat_template_source(recipe.model.chat_template)
    return tokenizer


def has_tokenizer(model_dir: Path) -> bool:
    """Whether a directory holds the files of a tokenizer."""
    return any(any(model_dir.glob(name)) for name in _TOKENIZERS)


def _tokenizer(recipe: Recipe, *, cache: DataCache) -> PreTrainedTokenizerBase:
    source = recipe.model.tokenizer or recipe.model.path
    if isinstance(source, TokenizerTraining):
        examples: Iterable[Example] = (
            example for name in source.data for example in open_examples(name, recipe.data[name], cache=cache)
        )
        return train_tokenizer(tokenizer_texts(examples), vocab_size=source.vocab_size)
    assert source is not None
    # For a model type that it knows, transformers would make up an empty tokenizer.
    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        raise ModelError(f"{source} must hold a tokenizer ({', '.join(_TOKENIZERS)}): set model.tokenizer")
    if Path(source).is_dir():
        refuse_dangerous_tokenizer(Path(source))
    return load_tokenizer(source, trust_remote_code=recipe.model.trust_remote_code)


def _with_local_model(recipe: Recipe, path: str) -> Recipe:
    """Return the recipe with `model.path` as a local folder; a hub model is downloaded first."""
    if Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") != 1:
        return recipe
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        local = snapshot_download(path, allow_patterns=[*_WEIGHTS, *_TOKENIZERS, *_CONFIGS, "*.json", "*.jinja"])
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise ModelError(
            f"model.path must be a model directory or a model of a hub that can be reached; {path!r} is no directory "
            f"here, and the hub answered: {error}"
        ) from error
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": local})})


def _check_weights(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(f"model.path must be a Hugging Face model directory; {path} has no config.json")
    weight_files(path)


def _config(recipe: Recipe, *, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return the model's configuration as transformers reads it."""
    from transformers import AutoConfig

    model = recipe.model
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": model.max_length,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **(model.config or {}),
    }
    if model.config is not None:
        _refuse_unread(model.config)
        _refuse_beyond_memory(model)
    try:
        if model.path is not None:
            return AutoConfig.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
        return AutoConfig.for_model(settings.pop("model_type"), **settings)
    except Exception as error:  # A wrong value raises many kinds of errors there.
        origin = "model.config" if model.path is None else f"{model.path}/config.json"
        # Its checks put Python's names of errors and classes into their messages.
        words = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", re.sub(r"\s*\b[A-Z]\w*Error: ", " ", str(error)))
        found = shortened(words, most=600)  # For an unknown model type, the message lists all known ones.
        raise ModelError(f"{origin} must be a configuration that transformers knows; found: {found}") from error


def _refuse_unread(settings: Mapping[str, Any]) -> None:
    """Reject keys that transformers would store in the configuration but never read.

    A key is known if it is a field of the family's configuration, or if its name occurs in the code of the family.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if not isinstance(settings["model_type"], str) or settings["model_type"] not in CONFIG_MAPPING:
        return  # Building the model reports it.
    family: Any = CONFIG_MAPPING[settings["model_type"]]
    known = {field.name for field in fields(family)} | set(family.attribute_map)
    unread = [key for key in settings if key not in known and not re.search(rf"\b{re.escape(key)}\b", _code_of(family))]
    if unread:
        raise ModelError(
            f"model.config has keys of {settings['model_type']} only, and nothing reads {unread[0]!r}: "
            f"{nearest_words(unread[0], known)}"
        )


def _refuse_beyond_memory(model: ModelConfig) -> None:
    """Reject a new model that does not fit in memory, such as after a slip of zeros; only for families that the formula
    of `rlpost check` knows.
    """
    shape = shape_of(model)
    needed = 0 if shape is None else shape.parameters * (4 if model.dtype == "float32" else 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ModelError(
            f"a new model must fit in this machine's memory of {memory / 2**30:.0f} GiB to be written; model.config "
            f"describes one of {needed / 2**30:.3g} GiB: lower its sizes"
        )


@cache
def _code_of(family: type) -> str:
    """Return transformers' code for a family of models, and the code that all families share."""
    import transformers

    shared = Path(inspect.getfile(transformers)).parent
    own = [Path(inspect.getfile(base)) for base in family.__mro__ if base.__module__.startswith("transformers.")]
    files = {*own, *own[0].parent.glob("*.py"), *shared.glob("modeling_*.py")}
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))


def _check_fit(config: Any, recipe: Recipe, *, token_count: int) -> None:
    text = config.get_text_config()
    positions: int | None = getattr(text, "max_position_embeddings", None)
    scaled: bool = ((getattr(text, "rope_parameters", None) or {}).get("rope_type") or "default") != "default"
    if positions is not None and positions < recipe.model.max_length and not scaled:
        raise ModelError(
            f"model.max_length must be at most the model's context of {positions} tokens (max_position_embeddings); "
            f"found {recipe.model.max_length}: lower it, or give a model with a longer context"
        )
    if text.vocab_size < token_count:
        raise ModelError(
            f"the model must have an embedding for each of the tokenizer's {token_count} tokens; its vocab_size is "
            f"{text.vocab_size}: give the tokenizer that belongs to the model, or another model"
        )


def _link_given_model(path: Path, model_dir: Path) -> None:
    """Link the weights without copying them, and no second set of weights beside them; copy small files."""
    for file in [*weight_paths(path), *path.glob(_INDEX)]:
        (model_dir / file.name).symlink_to(file.resolve())
    for pattern in _CONFIGS:
        for file in path.glob(pattern):
            (model_dir / file.name).write_bytes(file.read_bytes())


def _write_new_model(recipe: Recipe, model_dir: Path, *, config: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(recipe.seed)
    try:
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, recipe.model.dtype), trust_remote_code=recipe.model.trust_remote_code
        )
    except Exception as error:  # A wrong value raises many kinds of errors there.
        raise ModelError(f"model.config must describe a language model; building it failed: {error}") from error
    model.save_pretrained(model_dir)
    follow_umask(weight_paths(model_dir), beside=model_dir / "config.json")
