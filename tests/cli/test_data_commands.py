"""`rlpost data`: what it prints, writes and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import recipe_document, write_rows
from typer.testing import CliRunner

from rlpost.cli.main import app


def asked(count: int, *, first: int) -> list[dict[str, Any]]:
    """Questions of twelve words, none of which occurs in two of them."""
    return [
        {"prompt": " ".join(f"w{number}x{word}" for word in range(12)), "response": "yes", "gold": "yes"}
        for number in range(first, first + count)
    ]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    document = recipe_document(tmp_path)
    held_out, rows = asked(20, first=0), asked(10, first=100)
    rows[4]["prompt"] = f"Please answer: {held_out[7]['prompt']} And explain."
    rows[6] = rows[2]
    write_rows(tmp_path / "held_out.jsonl", held_out)
    write_rows(tmp_path / "sums.jsonl", rows)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(document))
    return path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *arguments])
    return result.exit_code, result.output


def test_a_quoted_instance_is_named_by_file_and_line_and_a_dirty_set_ends_with_1(recipe: Path) -> None:
    code, output = run("decontaminate", str(recipe), "--json")
    (report,) = json.loads(output)
    assert code == 1
    assert (report["train"], report["evaluation"], report["is_dirty"]) == ("sums", "held_out", True)
    assert (report["instances"], report["contaminated"], report["rows"]) == (20, 1, 1)
    ((found),) = report["overlaps"]
    assert found["row"].endswith("sums.jsonl:5")
    assert found["instance"].endswith("held_out.jsonl:8")
    assert found["share"] == 1.0


def test_a_set_below_the_bound_is_clean_and_ends_with_0(recipe: Path) -> None:
    code, output = run("decontaminate", str(recipe), "--set-share", "0.05")
    assert code == 0
    assert "5.00%" in output
    assert "clean" in output


def test_the_cleaned_set_lacks_the_row_and_a_folder_is_never_overwritten(recipe: Path) -> None:
    clean = recipe.with_name("clean")
    run("decontaminate", str(recipe), "--clean", str(clean))
    before = recipe.with_name("sums.jsonl").read_text().splitlines()
    assert (clean / "sums.jsonl").read_text().splitlines() == [*before[:4], *before[5:]]
    code, output = run("decontaminate", str(recipe), "--clean", str(clean))
    assert code != 0
    assert "must be a new folder" in output


def test_a_clean_folder_that_cannot_be_made_is_refused_in_words(recipe: Path) -> None:
    code, output = run("decontaminate", str(recipe), "--clean", str(recipe / "below-a-file"))
    assert code == 2
    assert "--clean must be a folder that can be written" in " ".join(output.split())


def test_what_a_killed_command_left_behind_is_not_in_the_way(recipe: Path) -> None:
    recipe.with_name("writing-clean").mkdir()
    code, _ = run("decontaminate", str(recipe), "--clean", str(recipe.with_name("clean")))
    assert code == 1, "the set is dirty"
    assert [path.name for path in recipe.with_name("clean").iterdir()] == ["sums.jsonl"]
    assert recipe.with_name("writing-clean").is_dir(), "nothing of the user's is deleted"


def test_a_training_set_that_is_also_the_evaluation_set_is_not_called_clean(recipe: Path) -> None:
    code, output = run("decontaminate", str(recipe), "--data", "sums", "--against", "sums")
    assert code != 0
    assert "has no training set to compare" in " ".join(output.split())


def test_questions_that_share_only_the_recipes_instruction_are_no_near_duplicates(recipe: Path) -> None:
    document = json.loads(recipe.read_text())
    document["data"]["sums"]["instruction"] = " ".join(f"v{number}" for number in range(200)) + " {question}"
    recipe.write_text(json.dumps(document))
    _, output = run("near-duplicates", str(recipe), "--turns", "user", "--json")
    assert len(json.loads(output)["near_duplicates"]) == 1, "the one row that is a copy"


def test_a_row_that_repeats_an_earlier_one_is_listed(recipe: Path) -> None:
    code, output = run("near-duplicates", str(recipe), "--json")
    found = json.loads(output)
    assert (code, found["rows"]) == (0, 10)
    ((one),) = found["near_duplicates"]
    assert one["similarity"] == 1.0
    assert {Path(one["row"]).name, Path(one["repeats"]).name} == {"sums.jsonl:3", "sums.jsonl:7"}


def test_an_unknown_set_and_a_recipe_without_evaluation_are_refused(recipe: Path) -> None:
    code, output = run("decontaminate", str(recipe), "--against", "held")
    assert code != 0
    assert "did you mean `held_out`?" in output
    document = json.loads(recipe.read_text())
    del document["evaluate"]
    recipe.write_text(json.dumps(document))
    code, output = run("decontaminate", str(recipe))
    assert code != 0
    assert "give --against" in output


def test_rows_are_shown_as_the_model_sees_them_with_trained_tokens_marked(recipe: Path) -> None:
    code, output = run("show", str(recipe), "--stage", "sft")
    assert code == 0, output
    assert "sft, sums, " in output
    assert "sums.jsonl:" in output
    (shown,) = (line for line in output.splitlines() if line.startswith("<|user|>"))
    assert shown.endswith("<|assistant|>\u27e6yes<|eos|>\u27e7")


def test_numbers_for_machines_and_a_prompts_gold(recipe: Path) -> None:
    code, output = run("show", str(recipe), "--stage", "evaluate", "--json", "--rows", "2")
    (found,) = json.loads(output)
    assert code == 0
    assert (found["stage"], found["data"], found["rows"]) == ("evaluate", "held_out", 20)
    assert [len(one["sequences"]) for one in found["shown"]] == [1, 1]
    assert not any(piece["is_trained"] for one in found["shown"] for piece in one["sequences"][0]["pieces"])
    assert found["counted"]["too_long"] == 20, "twelve words are more than 48 tokens of this tokenizer"
    assert "gold: 'yes'" in run("show", str(recipe), "--stage", "evaluate")[1]


def test_rows_that_a_stage_leaves_out_are_counted(recipe: Path) -> None:
    document = json.loads(recipe.read_text())
    document["stages"][0]["max_length"] = 8
    recipe.write_text(json.dumps(document))
    _, output = run("show", str(recipe), "--stage", "sft", "--json")
    assert json.loads(output)[0]["counted"]["too_long"] == 10


def test_a_stage_that_does_not_exist_is_refused(recipe: Path) -> None:
    code, output = run("show", str(recipe), "--stage", "sff")
    assert code != 0
    assert "did you mean `sft`?" in output
