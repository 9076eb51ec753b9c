"""A checkpoint on its way from the learner to its name, while the stage goes on, stops or breaks."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoint_steps import END, checkpoints_in, names, save_steps
from fakes import FakeLearner

from rlpost.errors import LearnerLostError, PreemptedError
from rlpost.stages import checkpoints as module
from rlpost.stages.stopping import StopRequest

FULL = OSError(errno.ENOSPC, "No space left on device")


class Gate:
    """In place of `publish`: it waits until it is opened, and raises what it is told to."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.raises: OSError | None = None
        self._publish = module.publish

    def __call__(self, beside: Path, final: Path) -> None:
        self.reached.set()
        assert self.opened.wait(20), "the test never opened the gate"
        if self.raises is not None:
            raise self.raises
        self._publish(beside, final)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(module, "publish", gate)
    yield gate
    gate.opened.set()


def test_what_is_saved_is_what_was_there_at_its_step(tmp_path: Path) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, every=4), FakeLearner(weights=40, steps=4, slow_disk=True)
    state: dict[str, Any] = {"ledger": [1, 2]}
    checkpoints.save_if_due(learner, step=4, state=state)
    state["ledger"].append(3)
    learner.weights, learner.steps = 70, 7
    checkpoints.save_if_due(learner, step=END, state=state)
    resumed = FakeLearner()
    saved = checkpoints_in(tmp_path).resume(resumed)
    assert saved is not None
    assert (saved.step, saved.state, resumed.weights, resumed.steps) == (4, {"ledger": [1, 2]}, 40, 4)


def test_it_has_its_name_a_step_later_where_the_disk_is_quick(tmp_path: Path) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, every=4), FakeLearner()
    checkpoints.save_if_due(learner, step=4, state={})
    assert names(tmp_path) == ["writing-00000004"]
    checkpoints.save_if_due(learner, step=5, state={})
    deadline = time.monotonic() + 20
    while names(tmp_path) != ["step-00000004"]:
        assert time.monotonic() < deadline, "nobody published it"
        time.sleep(0.01)


def test_steps_go_on_while_it_is_written_and_while_it_is_published(tmp_path: Path, gate: Gate) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, every=4), FakeLearner(slow_disk=True)
    for step in (4, 5, 6):
        checkpoints.save_if_due(learner, step=step, state={})
    assert not (tmp_path / "checkpoints" / "writing-00000004" / "state.json").exists(), "the disk is slow"
    learner.slow_disk = False
    for step in (7, 9, 10, 11):
        checkpoints.save_if_due(learner, step=step, state={})
    assert gate.reached.wait(20)
    assert names(tmp_path) == ["writing-00000004"]
    gate.opened.set()
    checkpoints.save_if_due(learner, step=12, state={})
    assert names(tmp_path) == ["step-00000004", "writing-00000012"], "the next save waits for the one before"


def test_nothing_is_under_way_when_the_stage_has_ended(tmp_path: Path) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, total_steps=3), FakeLearner(slow_disk=True)
    for step in (1, 2, 3):
        checkpoints.save_if_due(learner, step=step, state={})
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_asked_to_stop_it_saves_out_of_turn_and_publishes_before_it_says_where(tmp_path: Path) -> None:
    stop = StopRequest(())
    checkpoints = checkpoints_in(tmp_path, every=3, total_steps=9, stop=stop)
    learner = FakeLearner(slow_disk=True)
    checkpoints.save_if_due(learner, step=3, state={})
    stop._hear(signal.SIGTERM, None)
    with pytest.raises(PreemptedError, match="stopped after step 4 of 9, as SIGTERM asked for"):
        checkpoints.save_if_due(learner, step=4, state={})
    assert names(tmp_path) == ["step-00000003", "step-00000004"]
    checkpoints.save_if_due(learner, step=9, state={})
    assert names(tmp_path) == ["step-00000003", "step-00000004"], "a finished stage is kept by its artifact"


@pytest.mark.parametrize("method", ["save_checkpoint", "finish_checkpoint"])
def test_a_save_that_breaks_in_the_middle_leaves_the_last_one_and_can_be_repeated(tmp_path: Path, method: str) -> None:
    save_steps(checkpoints_in(tmp_path), 1)
    with pytest.raises(OSError, match="No space left"):
        checkpoints = checkpoints_in(tmp_path)
        learner = FakeLearner(raises={method: FULL})
        checkpoints.save_if_due(learner, step=2, state={})
        checkpoints.save_if_due(learner, step=3, state={})
    assert names(tmp_path) == ["step-00000001", "writing-00000002"]
    saved = checkpoints_in(tmp_path).latest()
    assert saved is not None and saved.step == 1
    save_steps(checkpoints_in(tmp_path), 2)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_a_publication_that_fails_stops_the_stage_at_its_next_step(tmp_path: Path, gate: Gate) -> None:
    gate.raises = FULL
    checkpoints, learner = checkpoints_in(tmp_path, every=50), FakeLearner()
    checkpoints.save_if_due(learner, step=50, state={})
    checkpoints.save_if_due(learner, step=51, state={})
    gate.opened.set()
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save_if_due(learner, step=END, state={})
    assert names(tmp_path) == ["writing-00000050"]


def test_whoever_starts_the_stage_again_finds_nothing_on_its_way(tmp_path: Path, gate: Gate) -> None:
    learner, opener = FakeLearner(), threading.Timer(0.1, gate.opened.set)
    with pytest.raises(LearnerLostError), checkpoints_in(tmp_path, every=4) as checkpoints:
        for step in (4, 5):
            checkpoints.save_if_due(learner, step=step, state={})
        opener.start()
        raise LearnerLostError("learner rank 0 died in step")
    assert names(tmp_path) == ["step-00000004"]


def test_a_publication_that_fails_beside_something_else_is_told(tmp_path: Path, gate: Gate) -> None:
    said: list[str] = []
    learner = FakeLearner()
    gate.raises = FULL
    with pytest.raises(LearnerLostError), checkpoints_in(tmp_path, every=4, said=said) as checkpoints:
        for step in (4, 5):
            checkpoints.save_if_due(learner, step=step, state={})
        gate.opened.set()
        raise LearnerLostError("learner rank 0 died in step")
    assert said == ["the last checkpoint could not be published: [Errno 28] No space left on device"]


def test_an_interrupt_does_not_wait_for_a_publication(tmp_path: Path, gate: Gate) -> None:
    learner, started = FakeLearner(), time.monotonic()
    with pytest.raises(KeyboardInterrupt), checkpoints_in(tmp_path, every=4) as checkpoints:
        for step in (4, 5):
            checkpoints.save_if_due(learner, step=step, state={})
        raise KeyboardInterrupt
    assert time.monotonic() - started < 10, "the gate was never opened"
    assert names(tmp_path) == ["writing-00000004"]
