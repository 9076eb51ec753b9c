"""The scenarios without a run pass here too, and fail where the product would not hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos_world import World
from machine_scenarios import extra_replies, verifier_without_descriptors

from rlpost.records import Verdict
from rlpost.scoring.workers import WorkerPool


@pytest.mark.parametrize("scenario", [verifier_without_descriptors, extra_replies])
def test_a_scenario_passes_and_sees_scores_of_other_samples(
    scenario: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder=tmp_path, model=tmp_path)
    assert scenario(world)["steps_done_again"] == 0
    judge = WorkerPool.judge

    def shifted(pool: WorkerPool, *samples: object, **options: object) -> list[Verdict]:
        first, *others = judge(pool, *samples, **options)  # type: ignore[arg-type] - passed on as they came
        return [*others, first]

    monkeypatch.setattr(WorkerPool, "judge", shifted)
    with pytest.raises(AssertionError):
        scenario(world)
