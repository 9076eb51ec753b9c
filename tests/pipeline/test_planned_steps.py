"""The place in the schedule and the step at which samples are judged follow the plan of the stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import FakeLearner, FakeParts, FakeScorer
from small_run import pipeline_of, recipe_document

from rlpost.pipeline.selection import Selection
from rlpost.records import Sample, Verdict
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport

MINIBATCHES = 4


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    document = recipe_document(tmp_path)
    document["stages"][2] |= {"minibatches": MINIBATCHES}
    return document


def half_of_the_prompts_have_signal(sample: Sample) -> Verdict:
    number = int(sample.prompt.split()[0])
    return Verdict(score=float(number % 2 and len(sample.response) % 2))


class StoppedInStep3(FakeParts):
    """The run ends at the first optimizer step that is planned for the third batch of rollouts or a later one."""

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        learner = super().build_learner(settings)
        usual = learner.step

        def step(*arguments: Any, planned_step: int | None, **options: Any) -> StepReport:
            if settings.total_steps == 4 * MINIBATCHES and planned_step is not None and planned_step >= 2 * MINIBATCHES:
                raise KeyboardInterrupt
            return usual(*arguments, planned_step=planned_step, **options)

        learner.step = step
        return learner


def execute(document: dict[str, Any], parts: FakeParts) -> FakeParts:
    parts.scorer = FakeScorer(half_of_the_prompts_have_signal)
    pipeline = pipeline_of(document, parts)
    pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))
    return parts


def test_minibatches_without_signal_move_the_schedule_on_also_where_a_run_is_resumed(
    document: dict[str, Any], tmp_path: Path
) -> None:
    parts = execute({**document, "output": str(tmp_path / "undisturbed")}, FakeParts())
    assert parts.settings[2].total_steps == 4 * MINIBATCHES
    planned = [step for step in parts.learners[2].planned_steps if step is not None]
    assert 0 < len(planned) < 4 * MINIBATCHES, "some groups have no signal"
    assert planned == sorted(set(planned))
    assert max(planned) >= 3 * MINIBATCHES, "the last batch is the last by its place too"
    with pytest.raises(KeyboardInterrupt):
        execute(document, StoppedInStep3())
    resumed = execute(document, FakeParts())
    assert resumed.learners[0].planned_steps == [step for step in planned if step >= 2 * MINIBATCHES]


def test_samples_are_judged_at_a_step_in_reinforcement_learning_and_at_the_end_of_weights_elsewhere(
    document: dict[str, Any],
) -> None:
    document["stages"][0]["least_score"] = 0.0
    samples = execute(document, FakeParts()).scorer.samples
    steps = [sample.step for sample in samples]
    demonstrations, own, evaluated, learned_from = 12, 12 * 6, 3 * 2, 4 * 4 * 3
    assert steps.count(None) == demonstrations + own + 3 * evaluated
    assert [steps.count(step) for step in range(4)] == [learned_from // 4] * 4
