"""The artifact before the first stage: a model directory as given, or a new model with its own tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlpost.data.chat import chat_template_source
from rlpost.data.sources import load_examples
from rlpost.data.tokenizer import load_tokenizer, tokenizer_texts, train_tokenizer
from rlpost.errors import ModelError
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import TokenizerTraining
from rlpost.records import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_CONFIGS = ("config.json", "generation_config.json", "*.py")


def build_base(recipe: Recipe, model_dir: Path) -> None:
    """Write the base model, its tokenizer and its chat template into `model_dir`.

    Raises:
        ModelError: the given directory is not a model, or the config is not one that transformers knows.
    """
    model_dir.mkdir(parents=True)
    tokenizer = _tokenizer(recipe)
    if recipe.model.chat_template is not None:
        tokenizer.chat_template = chat_template_source(recipe.model.chat_template)
    tokenizer.save_pretrained(str(model_dir))
    if recipe.model.path is not None:
        _link_given_model(Path(recipe.model.path), model_dir)
    else:
        _write_new_model(recipe, model_dir, tokenizer=tokenizer)


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    source = recipe.model.tokenizer or recipe.model.path
    if isinstance(source, TokenizerTraining):
        examples: Iterable[Example] = (
            example for name in source.data for example in load_examples(name, recipe.data[name])
        )
        return train_tokenizer(tokenizer_texts(examples), vocab_size=source.vocab_size)
    assert source is not None
    return load_tokenizer(source, trust_remote_code=recipe.model.trust_remote_code)


def _link_given_model(path: Path, model_dir: Path) -> None:
    """Weights are linked, not copied; small files are copied."""
    if not (path / "config.json").is_file():
        raise ModelError(f"model.path must be a Hugging Face model directory; {path} has no config.json")
    weights = [file for pattern in _WEIGHTS for file in sorted(path.glob(pattern))]
    if not weights:
        raise ModelError(f"model.path must hold weights as *.safetensors; {path} has none: convert the model first")
    for file in weights:
        (model_dir / file.name).symlink_to(file.resolve())
    for pattern in _CONFIGS:
        for file in path.glob(pattern):
            (model_dir / file.name).write_bytes(file.read_bytes())


def _write_new_model(recipe: Recipe, model_dir: Path, *, tokenizer: PreTrainedTokenizerBase) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    assert recipe.model.config is not None
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": recipe.model.max_length,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **recipe.model.config,
    }
    try:
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        torch.manual_seed(recipe.seed)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, recipe.model.dtype))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"model.config must be a configuration that transformers knows; {error}") from error
    model.save_pretrained(model_dir)
