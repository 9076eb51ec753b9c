"""A run that dies in any step of any stage ends, when it is started again, as one that never died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import FakeLearner, FakeParts
from small_run import pipeline_of, recipe_document, recipe_of, sums, write_rows

from rlpost.pipeline.artifacts import Manifest
from rlpost.pipeline.selection import Selection
from rlpost.settings import LearnerSettings
from rlpost.train_records import StepReport

STAGES = {"sft": 3, "dpo": 2, "grpo": 4}


class DyingParts(FakeParts):
    """The learner of one stage dies in its n-th step: before it counts, or when its weights are changed already."""

    def __init__(self, *, stage: int, step: int, late: bool) -> None:
        super().__init__()
        self._stage, self._step, self._late = stage, step, late

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        learner = super().build_learner(settings)
        if len(self.learners) - 1 == self._stage:
            usual = learner.step

            def step(*arguments: Any, **options: Any) -> StepReport:
                dies = learner.calls.count("step") + 1 == self._step
                if dies and self._late:
                    usual(*arguments, **options)
                if dies:
                    raise RuntimeError("killed")
                return usual(*arguments, **options)

            learner.step = step
        return learner


def with_samplers(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Supervised stages on a mixture whose shares change, RL on a curriculum with groups left out."""
    document["deterministic"] = True
    document["data"]["more"] = {"source": f"jsonl:{write_rows(folder / 'more.jsonl', sums(5, first=20))}"}
    sft, dpo, grpo = document["stages"]
    for stage in document["stages"]:
        stage |= {
            "data": ["sums", "more"],
            "sampler": {"kind": "mixture", "mix": {"sums": [[0, 1], [2, 0]], "more": 1}},
        }
    sft["steps"], dpo["steps"] = 3, 2
    grpo |= {"steps": 9, "sampler": {"kind": "curriculum"}, "dynamic_sampling": {"max_refill": 1}}
    return document


def executed(document: dict[str, Any], parts: FakeParts) -> list[Manifest]:
    return pipeline_of(document, parts).execute(Selection.of(recipe_of(document), first=None, last=None))


def ledger(document: dict[str, Any]) -> str:
    return (Path(document["output"]) / "stages" / "03-grpo" / "ledger.jsonl").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    document = recipe_document(tmp_path_factory.mktemp("undisturbed"))
    document["deterministic"] = True
    return [manifest.model_hash for manifest in executed(document, FakeParts())], ledger(document)


@pytest.mark.parametrize("every", [1, 2, 50])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("stage", "step"), [(place, step) for place, steps in enumerate(STAGES.values()) for step in range(1, steps + 1)]
)
def test_killed_in_any_step_it_ends_with_the_same_models_and_the_same_ledger(
    tmp_path: Path, undisturbed: tuple[list[str], str], stage: int, step: int, late: bool, every: int
) -> None:
    document = recipe_document(tmp_path)
    document["deterministic"] = True
    for each in document["stages"]:
        each["learner"] = {"checkpoint_every": every}
    with pytest.raises(RuntimeError, match="killed"):
        executed(document, DyingParts(stage=stage, step=step, late=late))
    hashes = [manifest.model_hash for manifest in executed(document, FakeParts())]
    assert hashes == undisturbed[0]
    assert ledger(document) == undisturbed[1]


@pytest.fixture(scope="module")
def undisturbed_with_samplers(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    folder = tmp_path_factory.mktemp("undisturbed-samplers")
    document = with_samplers(recipe_document(folder), folder)
    return [manifest.model_hash for manifest in executed(document, FakeParts())], ledger(document)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("stage", "step"), [(0, 2), (0, 3), (1, 2), *((2, step) for step in range(2, 10))])
def test_killed_in_any_step_samplers_go_on_with_the_same_rows(
    tmp_path: Path, undisturbed_with_samplers: tuple[list[str], str], stage: int, step: int, every: int
) -> None:
    document = with_samplers(recipe_document(tmp_path), tmp_path)
    for each in document["stages"]:
        each["learner"] = {"checkpoint_every": every}
    with pytest.raises(RuntimeError, match="killed"):
        executed(document, DyingParts(stage=stage, step=step, late=True))
    hashes = [manifest.model_hash for manifest in executed(document, FakeParts())]
    assert ledger(document) == undisturbed_with_samplers[1], "the same prompts in the same steps"
    assert hashes == undisturbed_with_samplers[0]


def test_the_ledger_of_a_curriculum_is_not_that_of_shuffled_epochs(
    tmp_path: Path, undisturbed_with_samplers: tuple[list[str], str]
) -> None:
    document = with_samplers(recipe_document(tmp_path), tmp_path)
    document["stages"][-1]["sampler"] = {"kind": "shuffled"}
    executed(document, FakeParts())
    assert ledger(document) != undisturbed_with_samplers[1]
