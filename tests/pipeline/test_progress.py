"""What of a run's folder counts as progress to somebody who only looks at it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts
from small_run import pipeline_of, recipe_document, recipe_of

from rlpost.errors import PreemptedError
from rlpost.pipeline.progress import marks
from rlpost.pipeline.selection import Selection


def names(run: Path) -> list[str]:
    return sorted(path for path, _ in marks(run))


def test_checkpoints_of_the_stage_under_way_and_finished_stages_are_marks(tmp_path: Path) -> None:
    document: dict[str, Any] = recipe_document(tmp_path)
    run, selection = Path(document["output"]), Selection.of(recipe_of(document), first=None, last=None)
    assert marks(run) == frozenset()
    dies = FakeParts(raises={2: {"export": PreemptedError("at the end of the third stage")}})
    with pytest.raises(PreemptedError):
        pipeline_of(document, dies).execute(selection)
    finished = [f"stages/{name}/manifest.json" for name in ("00-base", "01-sft", "02-dpo")]
    checkpoints = [f"stages/03-grpo.partial/checkpoints/step-{step:08d}" for step in (2, 3)]
    assert names(run) == finished + checkpoints
    before = marks(run)
    pipeline_of(document, FakeParts()).execute(selection)
    new = marks(run) - before
    assert [path for path, _ in new] == ["stages/03-grpo/manifest.json"]


def test_a_stage_that_is_made_again_is_progress_and_a_half_written_checkpoint_is_none(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    run, selection = Path(document["output"]), Selection.of(recipe_of(document), first=None, last=None)
    pipeline_of(document, FakeParts()).execute(selection)
    before = marks(run)
    (run / "stages" / "03-grpo.partial" / "checkpoints" / "writing-00000001").mkdir(parents=True)
    assert marks(run) == before
    shutil.rmtree(run / "stages" / "03-grpo.partial")
    again = Selection.of(recipe_of(document), first="dpo", last=None)
    pipeline_of(document, FakeParts()).execute(again)
    assert {path for path, _ in marks(run) - before} == {
        "stages/02-dpo/manifest.json",
        "stages/03-grpo/manifest.json",
    }
