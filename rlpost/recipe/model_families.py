"""The families of models that can be trained, and in which kinds of stages; no torch.

A family is transformers' `model_type`. `tests/learner/test_family_table.py` compares every line of `FAMILIES` with
the learner, and README shows them as a table. A family that is not listed is tested when its weights are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rlpost.recipe.model_layout import config_of
from rlpost.recipe.problems import Problem
from rlpost.recipe.schema import Recipe

_RECURRENT = "recurrent layers or convolutions carry their state across the ends of packed rows"
_OWN_ATTENTION = "its own attention code does not keep packed rows apart"
_QUANTISED = "its weights are quantised (quantization_config in config.json); give the model before it was quantised"
OTHER_NAMES = "the learner names some weights otherwise than the model's files do, so engines cannot take them"
_NOT_RELOADED = "vLLM's log-probabilities differ from the learner's after an update of the weights"
_OTHER_IN_VLLM = "vLLM on CPU gives other log-probabilities than transformers"
_NO_CLASSIFIER = "transformers has no sequence classifier of this family"
_EXPERTS_ADAPTER = "some linear layers cannot be merged; name those of the attention in lora.target_modules"
_TRANSPOSED = "its layers are stored transposed, and adapters of them cannot be merged"
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


class Support(NamedTuple):
    """The reasons why a family cannot be used in each way; None where it can."""

    training: str | None = None
    """Any training: continued pre-training, SFT, DPO, and all that follows."""
    reinforcement: str | None = None
    """RL, in which engines take the learner's weights."""
    adapter: str | None = None
    """LoRA on all linear layers, which is the default; layers that are stored transposed take none at all."""
    scorer: str | None = None
    """Reward models and critics."""


_FULL = Support()
_EXPERTS = Support(reinforcement=OTHER_NAMES, adapter=_EXPERTS_ADAPTER)
_NO_SCORER = Support(scorer=_NO_CLASSIFIER)

FAMILIES: Mapping[str, Support] = {
    **dict.fromkeys(
        ["llama", "mistral", "ministral", "ministral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"], _FULL
    ),
    **dict.fromkeys(["olmo", "olmo2", "olmo3", "phi", "phi3", "starcoder2", "opt"], _FULL),
    **dict.fromkeys(["glm", "glm4", "smollm3", "exaone4", "seed_oss", "hunyuan_v1_dense", "arcee"], _FULL),
    **dict.fromkeys(["granite", "ernie4_5", "apertus"], _NO_SCORER),
    "cohere2": Support(reinforcement=_OTHER_IN_VLLM, scorer=_NO_CLASSIFIER),
    "gpt2": Support(adapter=_TRANSPOSED),
    "gpt_neox": Support(reinforcement=OTHER_NAMES),
    "gpt_oss": Support(reinforcement=_NOT_RELOADED),
    "qwen2_moe": Support(reinforcement=OTHER_NAMES),
    **dict.fromkeys(["qwen3_moe", "mixtral"], _EXPERTS),
    "granitemoe": Support(reinforcement=OTHER_NAMES, scorer=_NO_CLASSIFIER),
    **dict.fromkeys(["olmoe", "glm4_moe"], _EXPERTS._replace(scorer=_NO_CLASSIFIER)),
    **dict.fromkeys(
        ["bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "lfm2_moe", "mamba"],
        Support(training=_RECURRENT),
    ),
    **dict.fromkeys(
        ["mamba2", "minimax", "nemotron_h", "olmo_hybrid", "qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_next"],
        Support(training=_RECURRENT),
    ),
    **dict.fromkeys(["recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2"], Support(training=_RECURRENT)),
    **dict.fromkeys(
        ["bloom", "codegen", "doge", "falcon", "gpt_neo", "gptj", "mpt", "nemotron", "openai-gpt", "stablelm", "xglm"],
        Support(training=_OWN_ATTENTION),
    ),
}


def support_of(config: Mapping[str, Any]) -> Support:
    """Return what a model with this configuration supports, as far as it is known."""
    if config.get("quantization_config") is not None:
        return Support(training=_QUANTISED)
    family = config.get("model_type")
    if isinstance(family, str) and family in FAMILIES:
        return FAMILIES[family]
    experts = [config.get(name) for name in _EXPERT_COUNTS]
    return _EXPERTS if any(isinstance(number, int) and number > 1 for number in experts) else _FULL


def family_problems(recipe: Recipe) -> Iterator[Problem]:
    """Find stages that cannot train the base model, judged by its configuration."""
    config = config_of(recipe.model)
    support, family = support_of(config), config.get("model_type")
    trained = [(index, stage.training) for index, stage in enumerate(recipe.stages) if stage.training is not None]
    if support.training is not None:
        if trained:
            path = ("model", "config" if recipe.model.path is None else "path")
            yield Problem(path=path, text=f"a model of the family {family} cannot be trained: {support.training}")
        return
    for index, stage in trained:
        if stage.publishes_weights and support.reinforcement is not None:
            text = f"a model of the family {family} cannot be trained by RL: {support.reinforcement}"
            yield Problem(path=("stages", index), text=f"{text}; SFT and DPO can train it")
        if stage.lora is not None and support.adapter is not None:
            all_layers = stage.lora.target_modules == "all-linear"
            if all_layers or support.adapter == _TRANSPOSED:
                which = "on all linear layers" if support.adapter != _TRANSPOSED else "at all"
                text = f"a model of the family {family} takes no adapter {which}: {support.adapter}"
                yield Problem(path=("stages", index, "lora"), text=text)
        if (stage.head == "score" or stage.critic is not None) and support.scorer is not None:
            what = "cannot become a reward model or critic"
            yield Problem(path=("stages", index), text=f"a model of the family {family} {what}: {support.scorer}")
