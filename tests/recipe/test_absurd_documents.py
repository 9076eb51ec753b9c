"""Documents of absurd size, depth or content are refused in a moment, in words that fit on a screen."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from rlpost.errors import LONGEST_MESSAGE, DataError, ModelError, RecipeError, RewardError, shortened
from rlpost.recipe.load import load_recipe
from rlpost.recipe.problems import listed

VALID = (Path(__file__).parent / "valid.yaml").read_text()


def refusal(folder: Path, text: str, *overrides: str) -> str:
    path = folder / "absurd.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(RecipeError) as raised:
        load_recipe(path, overrides=overrides)
    assert time.process_time() - started < 3
    assert len(str(raised.value)) <= LONGEST_MESSAGE
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{a: " * 50_000, "- " * 50_000 + "x", "\n".join(" " * depth + "a:" for depth in range(600))],
    ids=["lists", "mappings", "dashes", "lines"],
)
def test_what_is_nested_too_deep_is_refused_where_it_becomes_too_deep(tmp_path: Path, text: str) -> None:
    assert "lists and mappings may be nested 64 deep" in refusal(tmp_path, text)


def test_an_option_may_not_be_nested_too_deep_either(tmp_path: Path) -> None:
    assert "--set seed: lists and mappings may be nested 64 deep" in refusal(tmp_path, VALID, "seed=" + "[" * 5000)


def test_a_file_that_is_no_recipe_for_its_size_is_refused_unread(tmp_path: Path) -> None:
    assert "may have 256 KiB" in refusal(tmp_path, "\n".join(f"k{number}: {number}" for number in range(100_000)))
    assert "must name a file that ends in .yaml" in refusal(tmp_path, "extends: /dev/zero\n" + VALID)
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    assert "endless.yaml must be a regular file" in refusal(tmp_path, "extends: endless.yaml\n" + VALID)


def test_a_long_value_is_told_by_its_beginning_and_its_end(tmp_path: Path) -> None:
    message = refusal(tmp_path, VALID, "seed=" + "x" * 5000)
    assert "seed: expected a whole number, found the text 'xxx" in message
    assert " [...] " in message and message.endswith("x'")
    assert "unknown kind 'xxx" in refusal(tmp_path, VALID, "stages.grpo.kind=" + "x" * 5000)
    assert "expected a key" in refusal(tmp_path, VALID, "data." + "X" * 5000 + "={}")


def test_a_name_is_short_enough_for_a_folder(tmp_path: Path) -> None:
    message = refusal(tmp_path, VALID, "stages.sft.name=" + "x" * 1000)
    assert "x].name: expected at most 100 characters, found the text 'xxx" in message
    assert message.count("x") < 400


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.sft.rows_per_step=1000000000000", "stages[sft].rows_per_step: expected at most 1e+07"),
        ("stages.grpo.samples_per_prompt=1000000000000", "samples_per_prompt: expected at most 1e+07"),
        ("stages.grpo.samples_per_prompt=1", "samples_per_prompt: expected at least 2"),
        ("stages.grpo.steps=1000000000000", "stages[grpo].steps: expected at most 1e+09"),
        ("model.max_length=1000000000000", "model.max_length: expected at most 1e+08"),
    ],
)
def test_sizes_beyond_all_memory_are_refused(tmp_path: Path, override: str, words: str) -> None:
    assert words in refusal(tmp_path, VALID, override)


def test_what_extends_names_is_told_in_words(tmp_path: Path) -> None:
    assert refusal(tmp_path, "extends: [a.yaml]\n").endswith("expected the path of one YAML file, found a list")


def test_of_many_problems_the_first_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    lines = [f"file:{number}: key: something is wrong" for number in range(500)]
    message = listed(lines, title="recipe.yaml")
    assert message.startswith("recipe.yaml: 500 problems\n  file:0: key: something is wrong\n")
    shown = message.count("something is wrong")
    assert message.endswith(f"\n  and {500 - shown} more, shown once these are fixed")
    assert 20 < shown < 100 and len(message) <= LONGEST_MESSAGE
    assert listed(["x" * 5000], title="t").count("\n") == 1


@pytest.mark.parametrize("error", [RecipeError, DataError, ModelError, RewardError])
def test_a_message_about_input_fits_on_a_screen_and_keeps_its_remedy(error: type[RecipeError]) -> None:
    raised = error("must be short; found " + "x" * 10_000 + ": set it shorter")
    assert len(str(raised)) == LONGEST_MESSAGE
    assert str(raised).startswith("must be short; found xxx") and str(raised).endswith("xxx: set it shorter")
    assert str(pickle.loads(pickle.dumps(raised))) == str(raised)
    assert str(error("as it is")) == "as it is"
    assert shortened("abcdef", most=6) == "abcdef"
