"""Reads Hugging Face directories: causal language models, and sequence classifiers with one label (scorers)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.attention import SEGMENT_ATTENTION, Segments, register_segment_attention
from rlpost.recipe.model_layout import weight_files

_SCORE_WEIGHT = "score.weight"
_MOST_NAMES = 3
_PROBE_LENGTHS = (5, 3)
_PROBE_TOLERANCE = 1e-3
"""Largest difference between packed and separate rows, as a share of the largest hidden state; float32 rounding gives
about 1e-6, and a row that sees another one about 1."""


def load_language_model(model_dir: str, *, trust_remote_code: bool) -> PreTrainedModel:
    """Load a causal language model in float32, with attention over packed rows.

    Raises:
        ModelError: the directory contains no such model, weights are missing or not finite, or the model does not keep
            packed rows apart.
    """
    model, missing = _load(AutoModelForCausalLM, model_dir, trust_remote_code=trust_remote_code)
    _refuse_missing(missing, model_dir)
    _refuse_mixed_rows(model)
    return model


def load_scorer(model_dir: str, *, trust_remote_code: bool) -> PreTrainedModel:
    """Load a model with one output per token, in float32: a sequence classifier, or a language model with a new score
    head.

    A new head is initialised to zero, without randomness, so all scores are 0 until the first step.

    Raises:
        ModelError: the directory contains neither, or a classifier with several labels; weights are missing or not
            finite, or the model does not keep packed rows apart.
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
    _refuse_missing(missing - {_SCORE_WEIGHT}, model_dir)
    _refuse_mixed_rows(model)
    if missing:
        torch.nn.init.zeros_(head.weight)
    return model


def _refuse_missing(missing: set[str], model_dir: str) -> None:
    """Reject a model that transformers would complete with random weights."""
    if missing:
        raise ModelError(
            f"{model_dir} must hold all weights of the model; missing: {_some(missing)}: get the files "
            "again, or give the model that they belong to"
        )


def _refuse_not_finite(model: PreTrainedModel, model_dir: str) -> None:
    broken = {name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())}
    if broken:
        raise ModelError(
            f"the weights in {model_dir} must be finite numbers; not finite: {_some(broken)}: get the files again"
        )


def _some(names: set[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(sorted(names)[:_MOST_NAMES]) + more


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
    weight_files(
        Path(model_dir)
    )  # It refuses broken files, pipes and integer weights, which transformers would accept.
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
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise _not_a_model(model_dir, error) from error
    _refuse_not_finite(model, model_dir)
    return model, set(report["missing_keys"])


def _refuse_mixed_rows(model: PreTrainedModel) -> None:
    """Reject a model whose packed rows differ from each row alone under transformers' own attention.

    Recurrent layers and convolutions carry their state across the end of a row; some families compute attention in code
    of their own, which lets rows see each other or lets tokens see later ones.
    """
    if getattr(model, "_is_stateful", False):
        raise ModelError(
            f"rows are packed end to end, so every layer must attend; {type(model).__name__} has recurrent layers: "
            "set model.path to a model with attention only"
        )
    try:
        with torch.no_grad():
            difference = _packing_difference(model)
    except ModelError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _not_packable(model, f"it fails on packed rows ({error!r})") from error
    if not difference <= _PROBE_TOLERANCE:
        raise _not_packable(model, f"its hidden states change by {difference:.2g} of their size when rows are packed")


def _packing_difference(model: PreTrainedModel) -> float:
    """Return the largest difference of a hidden state between packed and separate rows, as a share of the largest."""
    body: Any = model.base_model
    vocabulary: int = cast(Any, model.config).get_text_config().vocab_size
    device = next(model.parameters()).device
    ids_T = (torch.arange(1, sum(_PROBE_LENGTHS) + 1, device=device) * 7) % vocabulary
    positions_T = torch.cat([torch.arange(length, device=device) for length in _PROBE_LENGTHS])
    packed_TH = body(
        input_ids=ids_T[None],
        position_ids=positions_T[None],
        segments=Segments.of(_PROBE_LENGTHS, device),
        use_cache=False,
    ).last_hidden_state[0]
    model.set_attn_implementation("eager")
    try:
        rows = [
            body(input_ids=row[None], use_cache=False).last_hidden_state[0] for row in ids_T.split(list(_PROBE_LENGTHS))
        ]
    finally:
        model.set_attn_implementation(SEGMENT_ATTENTION)
    alone_TH = torch.cat(rows)
    return float((packed_TH - alone_TH).abs().max() / alone_TH.abs().max())


def _not_packable(model: PreTrainedModel, found: str) -> ModelError:
    return ModelError(
        f"rows are packed end to end, and {type(model).__name__} does not keep them apart: {found}. Set model.path to "
        "a model of a family in README's table"
    )


def _not_a_model(model_dir: str, error: Exception) -> ModelError:
    return ModelError(
        f"the model must be a Hugging Face directory with config.json and weights; loading {model_dir} failed: {error}"
    )
