"""What changes a stage's hash, and what does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import OPTIMIZER, recipe_document, recipe_of, sums, write_rows

from rlpost.pipeline.lineage import base_inputs_hash, data_identities, evaluation_hash, stage_inputs_hash

Document = dict[str, Any]
Hashes = dict[str, str]


def hashes(document: Document) -> Hashes:
    recipe = recipe_of(document)
    data = data_identities(recipe)
    return {
        "base": base_inputs_hash(recipe, data=data),
        "evaluate": evaluation_hash(recipe, model_hash="model", data=data),
        **{
            stage.name: stage_inputs_hash(recipe, stage, parents={"start": "start"}, data=data)
            for stage in recipe.stages
        },
    }


def put(*path: str | int, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        place: Any = document
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


STAGES = {"sft", "dpo", "grpo"}
ALL = {"base", "evaluate"} | STAGES
CHANGES: dict[str, tuple[Callable[[Document], None], set[str]]] = {
    "seed": (put("seed", value=1), ALL),
    "determinism": (put("deterministic", value=True), STAGES),
    "model shape": (put("model", "config", "num_hidden_layers", value=2), {"base"}),
    "tokenizer": (put("model", "tokenizer", "vocab_size", value=280), {"base"}),
    "chat template": (put("model", "chat_template", value="rlpost:tulu"), {"base"}),
    "dtype": (put("model", "dtype", value="bfloat16"), {"base"} | STAGES),
    "max_length": (put("model", "max_length", value=64), {"base"} | STAGES),
    "data seed": (put("data", "sums", "seed", value=4), {"base"} | STAGES),
    "system message": (put("data", "sums", "system", value="Be short."), {"base"} | STAGES),
    "held-out rows": (put("data", "held_out", "rows", value=2), {"evaluate"} | STAGES),
    "reward": (put("rewards", "routes", "*", "weight", value=2.0), {"evaluate", "dpo", "grpo"}),
    "evaluation": (put("evaluate", "samples", value=3), {"evaluate"}),
    "pass score": (put("evaluate", "pass_score", value=0.5), {"evaluate"}),
    "steps of one stage": (put("stages", 0, "steps", value=5), {"sft"}),
    "learning rate of one stage": (put("stages", 2, "optimizer", value={**OPTIMIZER, "eps": 1e-6}), {"grpo"}),
    "sampling of one stage": (put("stages", 1, "own_samples", "sampling", "max_tokens", value=7), {"dpo"}),
    "start written out": (put("stages", 2, "start", value="dpo"), set()),
    "preset that says what is the default": (put("stages", 2, "algorithm", value="olmo3"), {"grpo"}),
    "staleness": (put("stages", 2, "max_staleness", value=1), {"grpo"}),
    "gate": (put("stages", 0, "require", value={"pass@1": ">= 0.1"}), set()),
    "checkpoint interval": (put("stages", 2, "learner", value={"checkpoint_every": 7}), set()),
    "kept checkpoints": (put("stages", 2, "learner", value={"keep_checkpoints": 7}), set()),
    "output": (put("output", value="elsewhere"), set()),
    "name": (put("name", value="renamed"), set()),
    "notes": (put("notes", value={"description": "why"}), set()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_hash_changes_with_what_decides_the_result_and_with_nothing_else(tmp_path: Path, name: str) -> None:
    document = recipe_document(tmp_path)
    changed = copy.deepcopy(document)
    change, expected = CHANGES[name]
    change(changed)
    before, after = hashes(document), hashes(changed)
    assert {key for key in before if before[key] != after[key]} == expected


def test_the_parent_counts(tmp_path: Path) -> None:
    recipe = recipe_of(recipe_document(tmp_path))
    data = data_identities(recipe)

    def inputs_hash(**parents: str) -> str:
        return stage_inputs_hash(recipe, recipe.stages[0], parents=parents, data=data)

    given = [{"start": "1"}, {"start": "2"}, {"start": "1", "critic": "2"}, {"start": "2", "critic": "1"}]
    assert len({inputs_hash(**parents) for parents in given}) == 4
    assert evaluation_hash(recipe, model_hash="1", data=data) != evaluation_hash(recipe, model_hash="2", data=data)


def test_what_a_data_file_holds_counts_and_not_where_it_lies(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    before = hashes(document)
    (tmp_path / "sums.jsonl").rename(tmp_path / "moved.jsonl")
    document["data"]["sums"]["source"] = f"jsonl:{tmp_path / 'moved.jsonl'}"
    assert hashes(document) == before
    write_rows(tmp_path / "moved.jsonl", sums(13))
    after = hashes(document)
    assert {key for key in before if before[key] != after[key]} == {"base", "sft", "dpo", "grpo"}


def test_what_a_template_file_holds_counts_and_not_where_it_lies(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    template = tmp_path / "chat.jinja"
    template.write_text("one")
    document["model"]["chat_template"] = str(template)
    before = hashes(document)
    document["model"]["chat_template"] = str(template.rename(tmp_path / "moved.jinja"))
    assert hashes(document) == before
    (tmp_path / "moved.jinja").write_text("two")
    assert hashes(document)["base"] != before["base"]


def test_what_a_tokenizer_directory_holds_counts(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("one")
    document["model"]["tokenizer"] = str(tmp_path / "tokenizer")
    before = hashes(document)
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("two")
    assert hashes(document)["base"] != before["base"]


def test_a_change_of_a_verifiers_code_changes_what_it_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "judge_of_a_test.py"
    source = (
        "from rlpost.records import Sample, Verdict\n"
        "from rlpost.scoring.authoring import verifier\n"
        "@verifier(name='test.judge', version='1', isolation='inline')\n"
        "def judge(sample: Sample) -> float:\n"
        "    return 1.0\n"
    )
    module.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    document = recipe_document(tmp_path)
    document["rewards"] = {"routes": {"*": {"verifier": "judge_of_a_test:judge"}}}
    recipe = recipe_of(document)
    data = data_identities(recipe)
    before = evaluation_hash(recipe, model_hash="m", data=data)
    assert evaluation_hash(recipe, model_hash="m", data=data) == before
    module.write_text(source.replace("1.0", "0.5"))
    assert evaluation_hash(recipe, model_hash="m", data=data) != before


def test_the_rewards_behind_least_score_belong_to_the_stage(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    document["stages"][0]["least_score"] = 1.0
    before = hashes(document)
    document["rewards"]["routes"]["*"] = {"verifier": "format.tags"}
    after = hashes(document)
    assert {key for key in before if before[key] != after[key]} == {"evaluate", "sft", "dpo", "grpo"}


def test_a_change_of_a_plugins_code_changes_its_stage(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    own = tmp_path / "own.py"
    own.write_text("def mine(groups, /): ...\n")
    put("stages", 2, "advantage", value={"scheme": f"{own}:mine"})(document)
    before = hashes(document)
    assert hashes(document) == before
    own.write_text("def mine(groups, /): return 1\n")
    after = hashes(document)
    assert {name for name in before if before[name] != after[name]} == {"grpo"}


def test_a_file_of_ones_own_counts_by_its_content_and_not_by_its_folder(tmp_path: Path) -> None:
    judge = (
        "from rlpost.records import Sample, Verdict\n"
        "from rlpost.scoring.authoring import verifier\n"
        "@verifier(name='test.judge', version='1', isolation='inline')\n"
        "def judge(sample: Sample) -> float:\n"
        "    return 1.0\n"
    )
    found: list[Hashes] = []
    for folder, body in (("first", "..."), ("moved", "..."), ("moved", "return 1")):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "own.py").write_text(f"def mine(groups, /): {body}\n")
        (place / "judge.py").write_text(judge.replace("1.0", "1.0" if body == "..." else "0.5"))
        document = recipe_document(tmp_path)
        document["rewards"]["routes"]["*"] = {"verifier": f"{place}/judge.py:judge"}
        put("stages", 2, "advantage", value={"scheme": f"{place}/own.py:mine"})(document)
        found.append(hashes(document))
    assert found[0] == found[1]
    assert {name for name in found[1] if found[1][name] != found[2][name]} == {"evaluate", "dpo", "grpo"}
