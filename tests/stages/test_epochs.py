"""Every row is trained as often as `epochs` says, whatever the number of rows a step takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fakes import FakeParts
from hypothesis import given
from hypothesis import strategies as st
from small_run import pipeline_of, recipe_document, sums, write_rows

from rlpost.pipeline.selection import Selection
from rlpost.recipe.stages import SftStage


def stage(rows_per_step: int, epochs: float) -> SftStage:
    keys = {"kind": "sft", "name": "sft", "data": ["d"], "optimizer": {"learning_rate": 1e-3}}
    return SftStage.model_validate({**keys, "rows_per_step": rows_per_step, "epochs": epochs})


@given(rows=st.integers(1, 300), rows_per_step=st.integers(1, 80), epochs=st.integers(1, 5))
def test_the_steps_take_every_row_as_often_as_there_are_epochs(rows: int, rows_per_step: int, epochs: int) -> None:
    sft = stage(rows_per_step, epochs)
    taken = [sft.rows_of_step(step, row_count=rows) for step in range(sft.step_count(rows))]
    assert sum(taken) == rows * epochs
    assert all(count == rows_per_step for count in taken[:-1])
    assert 1 <= taken[-1] <= rows_per_step


@pytest.mark.parametrize(("rows", "epochs", "steps"), [(90, 1, 2), (33, 1, 1), (33, 2, 2), (64, 0.5, 1), (3, 0.1, 1)])
def test_a_last_step_of_fewer_rows_counts(rows: int, epochs: float, steps: int) -> None:
    assert stage(64, epochs).step_count(rows) == steps


def test_a_run_trains_every_row_once_in_an_epoch(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    write_rows(tmp_path / "sums.jsonl", sums(13))
    del document["stages"][0]["steps"]
    document["stages"][0] |= {"epochs": 1, "rows_per_step": 4}
    document["stages"] = document["stages"][:1]
    parts = FakeParts()
    pipeline = pipeline_of(document, parts, can_generate=False)
    pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))
    batches = parts.learners[0].batches
    assert [len(batch.row_lengths_B) for batch in batches] == [4, 4, 4, 1]
    counted = Counter(source for batch in batches for source in batch.sources)
    assert counted == Counter(f"sums/{row}" for row in range(13))
