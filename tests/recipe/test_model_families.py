"""`check` refuses the families that cannot be trained, and README shows the table."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

from rlpost.recipe.check import problems
from rlpost.recipe.load import load_recipe
from rlpost.recipe.model_families import FAMILIES, Support, support_of
from rlpost.recipe.schema import ClusterConfig

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
LORA = "stages.sft.lora={rank: 4, alpha: 8}"


def found(tmp_path: Path, config: dict[str, object], *overrides: str) -> dict[str, str]:
    """Problems of a recipe whose model is a directory with this configuration, by their keys."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = (f"model.path={tmp_path}", "model.config=null", "model.tokenizer=null")
    recipe = load_recipe(HERE / "valid.yaml", overrides=[*model, *overrides]).recipe
    listed = problems(recipe, ClusterConfig(name="cpu"), verifier_reads={})
    names = {index: stage.name for index, stage in enumerate(recipe.stages)}
    return {
        ".".join(names.get(part, "") if isinstance(part, int) else part for part in problem.path): problem.text
        for problem in listed
    }


def test_a_family_that_works_has_no_problem(tmp_path: Path) -> None:
    assert found(tmp_path, {"model_type": "llama"}, LORA) == {}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "jamba"}, "a model of the family jamba cannot be trained: recurrent layers"),
        ({"model_type": "bloom"}, "a model of the family bloom cannot be trained: its own attention code"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "its weights are quantised"),
    ],
)
def test_a_family_that_cannot_be_trained_is_refused_once(tmp_path: Path, config: dict[str, object], words: str) -> None:
    texts = found(tmp_path, config)
    assert list(texts) == ["model.path"]
    assert words in texts["model.path"]


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen3_moe"},
        {"model_type": "gpt_neox"},
        {"model_type": "a_new_family", "num_experts": 64},
        {"model_type": "a_new_family", "n_routed_experts": 64},
    ],
)
def test_rl_is_refused_where_engines_cannot_take_the_weights(tmp_path: Path, config: dict[str, object]) -> None:
    texts = found(tmp_path, config)
    assert list(texts) == ["stages.grpo"]
    assert "so engines cannot take them; SFT and DPO can train it" in texts["stages.grpo"]


def test_an_adapter_on_all_layers_is_refused_where_it_cannot_be_merged_and_named_layers_are_not(tmp_path: Path) -> None:
    named = "stages.sft.lora={rank: 4, alpha: 8, target_modules: [q_proj]}"
    texts = found(tmp_path, {"model_type": "mixtral"}, LORA)
    assert "takes no adapter on all linear layers: some linear layers cannot be merged" in texts["stages.sft.lora"]
    assert "stages.sft.lora" not in found(tmp_path, {"model_type": "mixtral"}, named)
    for lora in (LORA, named):
        texts = found(tmp_path, {"model_type": "gpt2", "n_embd": 64, "n_head": 2}, lora)
        assert list(texts) == ["stages.sft.lora"]
        assert "takes no adapter at all: its layers are stored transposed" in texts["stages.sft.lora"]


def test_a_critic_is_refused_without_a_sequence_classifier(tmp_path: Path) -> None:
    ppo = ("stages.grpo.kind=ppo", "stages.grpo.value={learning_rate: 1e-5}")
    assert "cannot become a reward model or critic" in found(tmp_path, {"model_type": "granite"}, *ppo)["stages.grpo"]
    assert found(tmp_path, {"model_type": "llama"}, *ppo) == {}


def test_an_unknown_family_without_experts_is_left_to_the_test_at_loading() -> None:
    assert support_of({"model_type": "a_new_family"}) == Support()
    assert support_of({"model_type": "a_new_family", "num_experts": 1}) == Support()
    assert support_of({"model_type": ["no", "text"]}) == Support()


def test_readme_shows_the_table() -> None:
    text = README.read_text(encoding="utf-8")
    rows = table()
    assert len(rows) > 5
    assert "\n".join(rows) in text, "\n".join(rows)


def table() -> list[str]:
    """One row for the families with the same support, in the order of `FAMILIES`."""
    order = list(dict.fromkeys(FAMILIES.values()))
    by_support = sorted(FAMILIES.items(), key=lambda item: order.index(item[1]))
    rows = ["| `model_type` | SFT, DPO | RL | LoRA | reward model, critic | why not |", "|---|---|---|---|---|---|"]
    for support, group in groupby(by_support, key=lambda item: item[1]):
        names = ", ".join(name for name, _ in group)
        cells = ["no" if support.training or reason else "yes" for reason in support]
        reasons = "; ".join(reason for reason in support if reason is not None)
        rows.append(f"| {' | '.join([names, *cells, reasons])} |")
    return rows
