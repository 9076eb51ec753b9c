"""The line of `rlpost check` about the learner's memory: the formula of `memory`, computed from the recipe alone; no
torch.
"""

from __future__ import annotations

from typing import Any, cast

from rlpost.recipe.memory import MOST_LOGITS, LearnerMemory, ModelShape, learner_memory
from rlpost.recipe.model_layout import config_of
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.recipe.sections import LoraConfig, ModelConfig, TokenizerTraining
from rlpost.recipe.stages import TrainedStage

_QUERY_KEY_NORM = {"llama": False, "mistral": False, "qwen2": False, "qwen3": True}
"""Model families that the formula was written for, and whether they normalise queries and keys."""
_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
_GIB = 2**30


def memory_line(stage: TrainedStage, *, recipe: Recipe, cluster: ClusterConfig) -> str | None:
    """Describe the peak memory of one learner rank; None if the recipe does not give the model's shape."""
    shape = None if stage.head == "score" else shape_of(recipe.model)
    if shape is None:
        return None
    memory = stage_memory(stage, shape, recipe=recipe, cluster=cluster)
    largest = {
        "weights": memory.weights + memory.gathered,
        "gradients and optimizer": memory.gradients + memory.optimizer,
        "reference": memory.reference,
        "critic": memory.critic,
        "activations and logits": memory.total - memory.kept,
    }
    parts = ", ".join(f"{name} {_size(size)}" for name, size in largest.items() if size)
    needed = f"a learner rank needs about {_size(memory.total)} beside its libraries: {parts}"
    return f"{needed}; {_size(memory.checkpoint)} more of the machine's memory while a checkpoint is written"


def stage_memory(stage: TrainedStage, shape: ModelShape, *, recipe: Recipe, cluster: ClusterConfig) -> LearnerMemory:
    """Estimate the peak memory of one learner rank in this stage."""
    return learner_memory(
        shape,
        ranks=cluster.learner.ranks,
        compute_dtype=stage.learner.compute_dtype or recipe.model.dtype,
        device=cluster.learner.device,
        micro_batch_tokens=stage.learner.micro_batch_tokens,
        most_logits=MOST_LOGITS,
        activation_checkpointing=stage.learner.activation_checkpointing,
        reference=stage.keeps_reference,
        critic=stage.critic is not None,
        adapter_parameters=None if stage.lora is None else adapter_parameters(shape, stage.lora),
        optimizer_numbers=stage.optimizer.numbers_per_parameter,
    )


def shape_of(model: ModelConfig) -> ModelShape | None:
    """Read the shape from `model.config` or config.json; None for another family, or if a size is missing."""
    config = config_of(model)
    family, tokenizer = config.get("model_type"), model.tokenizer
    vocabulary = tokenizer.vocab_size if isinstance(tokenizer, TokenizerTraining) else config.get("vocab_size")
    sizes = [config.get(name) for name in _SIZES]
    if not isinstance(family, str) or family not in _QUERY_KEY_NORM or not all(map(_is_size, [*sizes, vocabulary])):
        return None
    layers, hidden, intermediate, heads = cast("list[int]", sizes)
    head_width: Any = config.get("head_dim")
    key_value_heads: Any = config.get("num_key_value_heads")
    if family != "qwen3":  # Without these two values in qwen3, transformers uses other defaults than these.
        head_width = hidden // heads if head_width is None else head_width
        key_value_heads = heads if key_value_heads is None else key_value_heads
    if not _is_size(head_width) or not _is_size(key_value_heads):
        return None
    return ModelShape(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        query_width=heads * head_width,
        key_value_width=key_value_heads * head_width,
        vocabulary=cast("int", vocabulary),
        tied=bool(config.get("tie_word_embeddings", False)),
        query_key_norm=_QUERY_KEY_NORM[family],
    )


def adapter_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Number of parameters of all adapted linear layers: rank times the sum of input and output width."""
    widths = {
        "q_proj": shape.hidden + shape.query_width,
        "k_proj": shape.hidden + shape.key_value_width,
        "v_proj": shape.hidden + shape.key_value_width,
        "o_proj": shape.query_width + shape.hidden,
        "gate_proj": shape.hidden + shape.intermediate,
        "up_proj": shape.hidden + shape.intermediate,
        "down_proj": shape.intermediate + shape.hidden,
    }
    names = widths if lora.target_modules == "all-linear" else lora.target_modules
    return shape.layers * lora.rank * sum(widths.get(name, 0) for name in names)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size < _GIB else f"{size / _GIB:.1f} GiB"
