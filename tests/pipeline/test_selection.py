from __future__ import annotations

from pathlib import Path

import pytest
from small_run import recipe_document, recipe_of

from rlpost.errors import RecipeError
from rlpost.pipeline.selection import Selection


def selected(folder: Path, *, first: str | None = None, last: str | None = None) -> Selection:
    return Selection.of(recipe_of(recipe_document(folder)), first=first, last=last)


def test_without_options_everything_is_reused_and_nothing_left_out(tmp_path: Path) -> None:
    selection = selected(tmp_path)
    assert not any(selection.must_redo(name) or selection.is_after_end(name) for name in selection.names)


def test_from_and_until_include_their_stage(tmp_path: Path) -> None:
    selection = selected(tmp_path, first="dpo", last="dpo")
    assert [selection.must_redo(name) for name in ("sft", "dpo", "grpo")] == [False, True, True]
    assert [selection.is_after_end(name) for name in ("sft", "dpo", "grpo")] == [False, False, True]


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("ppo", None, r"--from must name a stage of the recipe \(sft, dpo, grpo\); found 'ppo'"),
        (None, "base", r"--until must name a stage of the recipe \(sft, dpo, grpo\); found 'base'"),
        ("grpo", "sft", r"--until sft comes before --from grpo in the recipe \(sft, dpo, grpo\)"),
    ],
)
def test_a_wrong_name_or_order_is_refused(tmp_path: Path, first: str | None, last: str | None, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        selected(tmp_path, first=first, last=last)
