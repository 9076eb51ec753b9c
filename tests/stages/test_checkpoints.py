"""Which checkpoint is chosen, which are kept, and what happens to damaged ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_steps import checkpoints_in, names, save_steps
from fakes import FakeLearner

from rlpost.stages.checkpoint_files import publish


def test_without_a_checkpoint_a_stage_starts_from_its_start(tmp_path: Path) -> None:
    learner = FakeLearner()
    assert checkpoints_in(tmp_path).resume(learner) is None
    assert learner.calls == []


def test_resume_restores_the_learner_and_what_the_stage_remembers(tmp_path: Path) -> None:
    save_steps(checkpoints_in(tmp_path), 3)
    learner = FakeLearner()
    saved = checkpoints_in(tmp_path).resume(learner)
    assert saved is not None
    assert (saved.step, saved.state, saved.path.name) == (3, {"at": 3}, "step-00000003")
    assert (learner.weights, learner.steps) == (30, 3)


def test_saves_when_due_and_never_at_the_end_of_the_stage(tmp_path: Path) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, every=4, total_steps=8), FakeLearner()
    for step in range(1, 9):
        checkpoints.save_if_due(learner, step=step, state={})
    assert names(tmp_path) == ["step-00000004"]


@pytest.mark.parametrize(("keep", "kept"), [(1, [11]), (2, [10, 11]), (3, [9, 10, 11])])
def test_as_many_are_kept_as_asked_for_and_the_newest_is_chosen(tmp_path: Path, keep: int, kept: list[int]) -> None:
    checkpoints = checkpoints_in(tmp_path, keep=keep)
    save_steps(checkpoints, 8, 9, 10, 11)
    assert names(tmp_path) == [f"step-{step:08d}" for step in kept]
    learner = FakeLearner()
    checkpoints.resume(learner)
    assert learner.steps == 11


def test_an_older_one_goes_only_after_a_newer_one_is_whole(tmp_path: Path) -> None:
    checkpoints, learner = checkpoints_in(tmp_path, every=4, keep=1), FakeLearner(slow_disk=True)
    seen: list[list[str]] = []
    for step in range(4, 10):
        checkpoints.save_if_due(learner, step=step, state={})
        seen.append(names(tmp_path))
    assert seen == [["writing-00000004"]] * 4 + [["step-00000004", "writing-00000008"]] * 2
    checkpoints.save_if_due(learner, step=100, state={})
    assert names(tmp_path) == ["step-00000008"]


def test_a_damaged_one_takes_no_place_among_those_that_are_kept(tmp_path: Path) -> None:
    save_steps(checkpoints_in(tmp_path, keep=3), 4, 7, 9)
    for step in (7, 9):
        altered(tmp_path / "checkpoints" / f"step-{step:08d}")
    checkpoints = checkpoints_in(tmp_path, keep=2)
    checkpoints.resume(FakeLearner())
    save_steps(checkpoints, 5)
    assert names(tmp_path) == ["step-00000004", "step-00000005"]


def test_a_removal_that_is_cut_short_leaves_no_part_under_a_checkpoints_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(checkpoints_in(tmp_path, keep=3), 1, 2, 3)
    whole_removal = shutil.rmtree

    def cut_short(path: Path) -> None:
        (path / "state.json").unlink()
        raise OSError("power cut")

    monkeypatch.setattr(shutil, "rmtree", cut_short)
    with pytest.raises(OSError, match="power cut"):
        save_steps(checkpoints_in(tmp_path, keep=1), 4)
    assert names(tmp_path) == ["removing-step-00000001", *(f"step-{step:08d}" for step in (2, 3, 4))]
    monkeypatch.setattr(shutil, "rmtree", whole_removal)
    save_steps(checkpoints_in(tmp_path, keep=1), 5)
    assert names(tmp_path) == ["step-00000005"]


def test_a_half_written_checkpoint_is_never_chosen(tmp_path: Path) -> None:
    checkpoints = checkpoints_in(tmp_path)
    save_steps(checkpoints, 5)
    folder = tmp_path / "checkpoints"
    (folder / "writing-00000009").mkdir()
    (folder / "writing-00000009" / "stage.json").write_text(json.dumps({"step": 9, "state": {}}))
    (folder / "step-00000008").mkdir()
    (folder / "step-00000008" / "state.json").write_text("[8, 8]")
    saved = checkpoints.latest()
    assert saved is not None and saved.step == 5


def cut_short(checkpoint: Path) -> str:
    path = checkpoint / "state.json"
    path.write_bytes(path.read_bytes()[:-1])
    return "state.json has"


def altered(checkpoint: Path) -> str:
    path = checkpoint / "state.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "the content of state.json is not what was written"


def removed(checkpoint: Path) -> str:
    (checkpoint / "stage.json").unlink()
    return "stage.json is missing"


def unlisted(checkpoint: Path) -> str:
    (checkpoint / "files.json").unlink()
    return "it has no files.json"


def list_cut_short(checkpoint: Path) -> str:
    path = checkpoint / "files.json"
    path.write_text(path.read_text()[:-9])
    return "its files.json cannot be read"


def list_of_nothing(checkpoint: Path) -> str:
    (checkpoint / "files.json").write_text("{}")
    return "its files.json does not name stage.json"


@pytest.mark.parametrize("spoil", [cut_short, altered, removed, unlisted, list_cut_short, list_of_nothing])
def test_a_damaged_checkpoint_is_passed_over_with_a_word_for_the_one_before(
    tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    said: list[str] = []
    checkpoints = checkpoints_in(tmp_path, said=said)
    save_steps(checkpoints, 4, 5)
    assert checkpoints.latest() is not None and said == []
    damage = spoil(tmp_path / "checkpoints" / "step-00000005")
    learner = FakeLearner()
    saved = checkpoints.resume(learner)
    assert saved is not None
    assert (saved.step, saved.state, learner.weights) == (4, {"at": 4}, 40)
    assert len(said) == 1 and said[0].startswith(f"checkpoint step-00000005 is passed over: {damage}")


def test_a_published_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / name).write_text(name)
    (tmp_path / "new" / "link").symlink_to(tmp_path / "nowhere")
    publish(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["old"]
    assert sorted(path.name for path in (tmp_path / "old").rglob("*")) == ["link", "model", "new"]
