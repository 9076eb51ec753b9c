"""A run that is told to stop saves the step under way, says so with exit code 75, and is gone on with."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeLearner, FakeParts
from small_run import pipeline_of, recipe_document, recipe_of
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.errors import PreemptedError
from rlpost.pipeline.selection import Selection
from rlpost.settings import LearnerSettings
from rlpost.stages.stopping import StopRequest
from rlpost.train_records import StepReport

NUMBER = signal.SIGUSR1


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = signal.getsignal(NUMBER)
    yield StopRequest((NUMBER,))
    signal.signal(NUMBER, before)


class TellingParts(FakeParts):
    """Sends the signal in the given step of the given learner, as the world would: in the middle of it."""

    def __init__(self, *, learner: int, step: int) -> None:
        super().__init__()
        self._learner, self._step = learner, step

    def build_learner(self, settings: LearnerSettings) -> FakeLearner:
        learner = super().build_learner(settings)
        if len(self.learners) - 1 == self._learner:
            usual = learner.step

            def step(*arguments: Any, **options: Any) -> StepReport:
                if learner.calls.count("step") + 1 == self._step:
                    signal.raise_signal(NUMBER)
                return usual(*arguments, **options)

            learner.step = step
        return learner


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    return recipe_document(tmp_path)


def selection_of(document: dict[str, Any]) -> Selection:
    return Selection.of(recipe_of(document), first=None, last=None)


@pytest.mark.parametrize(("learner", "where"), [(0, "sft"), (1, "dpo"), (2, "grpo")])
def test_the_step_under_way_is_saved_and_the_next_run_ends_with_the_same_weights(
    document: dict[str, Any], tmp_path: Path, stop: StopRequest, learner: int, where: str
) -> None:
    selection = selection_of(document)
    undisturbed = pipeline_of({**document, "output": str(tmp_path / "undisturbed")}, FakeParts()).execute(selection)
    for stage in document["stages"]:
        stage.setdefault("learner", {})["checkpoint_every"] = 10_000
    parts = TellingParts(learner=learner, step=1)
    with pytest.raises(PreemptedError, match=r"stopped after step 1 of \d+, as SIGUSR1 asked for") as told:
        pipeline_of(document, parts, stop=stop).execute(selection)
    assert told.value.exit_code == 75
    assert parts.learners[learner].calls.count("save_checkpoint") == 1
    again = FakeParts()
    manifests = pipeline_of(document, again).execute(selection)
    assert "load_checkpoint" in again.learners[0].calls, f"{where} did not go on"
    assert [manifest.model_hash for manifest in manifests] == [manifest.model_hash for manifest in undisturbed]


def test_a_second_signal_ends_the_run_at_once(stop: StopRequest) -> None:
    stop.listen()
    assert not stop.requested
    signal.raise_signal(NUMBER)
    assert stop.requested
    stop.listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(NUMBER)


def test_a_signal_before_the_first_step_ends_the_command_as_one_to_be_tried_again(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text(json.dumps(document))
    monkeypatch.setattr("rlpost.assembly.run_recipe", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    try:
        ended = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.yaml")])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.exit_code == 75
    assert ended.stderr == "stopped before the first step, as SIGTERM asked for; the same command begins again\n"
