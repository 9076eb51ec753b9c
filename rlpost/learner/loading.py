"""Reads Hugging Face directories: causal language models, and sequence classifiers with one label (scorers)."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.attention import register_segment_attention

_SCORE_WEIGHT = "score.weight"


def load_language_model(model_dir: str, *, trust_remote_code: bool) -> PreTrainedModel:
    """Load a causal language model in float32, with attention over packed rows.

    Raises:
        ModelError: the directory contains no such model, or one with recurrent layers.
    """
    return _load(AutoModelForCausalLM, model_dir, trust_remote_code=trust_remote_code)[0]


def load_scorer(model_dir: str, *, trust_remote_code: bool) -> PreTrainedModel:
    """Load a model with one output per token, in float32: a sequence classifier, or a language model with a new score
    head.

    A new head is initialised to zero, without randomness, so all scores are 0 until the first step.

    Raises:
        ModelError: the directory contains neither, or a classifier with several labels.
    """
    _check_label_count(model_dir, trust_remote_code=trust_remote_code)
    model, missing = _load(
        AutoModelForSequenceClassification, model_dir, trust_remote_code=trust_remote_code, num_labels=1
    )
    head: Any = getattr(model, "score", None)
    if type(head) is not torch.nn.Linear or cast(Any, head.bias) is not None:
        raise ModelError(
            f"a reward model or critic needs a body with a linear `score` head; {type(model).__name__} of "
            f"{model_dir} has none: choose a decoder-only model"
        )
    if missing - {_SCORE_WEIGHT}:
        raise ModelError(
            f"{model_dir} must hold all weights of the model; missing: {sorted(missing - {_SCORE_WEIGHT})}"
        )
    if missing:
        torch.nn.init.zeros_(head.weight)
    return model


def _check_label_count(model_dir: str, *, trust_remote_code: bool) -> None:
    config = _config(model_dir, trust_remote_code=trust_remote_code)
    is_classifier = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
    if is_classifier and config.num_labels != 1:
        raise ModelError(
            f"a sequence classifier must have one label, its score; {model_dir} has {config.num_labels}: choose another"
        )


def _config(model_dir: str, *, trust_remote_code: bool) -> Any:
    try:
        return AutoConfig.from_pretrained(model_dir, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise _not_a_model(model_dir, error) from error


def _load(kind: Any, model_dir: str, *, trust_remote_code: bool, **options: Any) -> tuple[PreTrainedModel, set[str]]:
    """Return the model, and the names of the weights that the directory lacks."""
    try:
        model, report = kind.from_pretrained(
            model_dir,
            dtype=torch.float32,
            attn_implementation=register_segment_attention(),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise _not_a_model(model_dir, error) from error
    # Recurrent layers carry their state across the end of a row, which no attention mask can prevent.
    if getattr(model, "_is_stateful", False):
        raise ModelError(
            f"rows are packed end to end, so every layer must attend; {type(model).__name__} has recurrent layers: "
            "set model.path to a model with attention only"
        )
    return model, set(report["missing_keys"])


def _not_a_model(model_dir: str, error: Exception) -> ModelError:
    return ModelError(
        f"the model must be a Hugging Face directory with config.json and weights; loading {model_dir} failed: {error}"
    )
