from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlpost.errors import ArtifactError
from rlpost.pipeline.run_directory import Begun, RunDirectory, StagePaths


def test_a_new_folder_is_claimed_and_found_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "deep" / "run")
    run.claim("mine", fresh=False)
    (run.root / "stages").mkdir()
    run.claim("mine", fresh=False)
    assert sorted(path.name for path in run.root.iterdir()) == ["lock", "run.json", "stages"]
    assert json.loads((run.root / "run.json").read_text()) == {"recipe": "mine"}


def test_the_run_of_another_recipe_is_left_alone_even_when_asked_to_start_fresh(tmp_path: Path) -> None:
    RunDirectory(tmp_path).claim("theirs", fresh=False)
    for fresh in (False, True):
        with pytest.raises(ArtifactError, match=r"holds a run of recipe 'theirs', and this is 'mine': set output"):
            RunDirectory(tmp_path).claim("mine", fresh=fresh)
    assert json.loads((tmp_path / "run.json").read_text()) == {"recipe": "theirs"}


def test_a_folder_with_other_files_is_left_alone_even_when_asked_to_start_fresh(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for fresh in (False, True):
        with pytest.raises(ArtifactError, match="holds other files: set output to another folder"):
            RunDirectory(tmp_path).claim("mine", fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_starting_fresh_empties_the_folder_of_an_earlier_run(tmp_path: Path) -> None:
    RunDirectory(tmp_path).claim("mine", fresh=False)
    (tmp_path / "stages" / "01-sft").mkdir(parents=True)
    RunDirectory(tmp_path).claim("mine", fresh=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "run.json"]


def test_a_run_that_another_process_writes_into_is_left_alone(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from rlpost.pipeline.run_directory import Begun, RunDirectory, StagePaths;"
        f"run = RunDirectory(Path({str(tmp_path)!r})); run.claim('mine', fresh=False);"
        "print('held', flush=True); input()"
    )
    hold = [sys.executable, "-c", code]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=f"only one process may write into a run; process {other.pid} on "):
            RunDirectory(tmp_path).claim("mine", fresh=True)
        other.kill()
    RunDirectory(tmp_path).claim("mine", fresh=False)


def test_a_process_with_the_same_id_is_not_let_in_and_the_run_keeps_its_files(tmp_path: Path) -> None:
    """In containers that share a folder, every first process has id 1."""
    held = RunDirectory(tmp_path)
    held.claim("mine", fresh=False)
    (tmp_path / "stages").mkdir()
    ours = (tmp_path / "lock").read_text()
    for name in (str(os.getpid()), ours.replace("tick ", "tick 1"), ours.replace("boot ", "boot 1")):
        assert name != ours
        (tmp_path / "lock").write_text(name)
        for fresh in (False, True):
            with pytest.raises(ArtifactError, match="only one process may write into a run"):
                RunDirectory(tmp_path).claim("mine", fresh=fresh)
    assert (tmp_path / "stages").exists()
    (tmp_path / "lock").write_text(ours)
    RunDirectory(tmp_path).claim("mine", fresh=True)
    assert not (tmp_path / "stages").exists()


def test_a_folder_that_cannot_be_locked_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ArtifactError, match="output must be a folder that can be written and locked"):
        RunDirectory(tmp_path).claim("mine", fresh=False)


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for output in ("file", "file/run"):
        with pytest.raises(ArtifactError, match="output must be a folder that can be made"):
            RunDirectory(tmp_path / output).claim("mine", fresh=False)


def begin(paths: StagePaths, inputs_hash: str, *, go_on: bool = False, **settings: Any) -> Begun:
    return paths.begin(inputs_hash, settings=settings, go_on=go_on)


def work_in(paths: StagePaths, text: str) -> None:
    (paths.work / "checkpoints").mkdir(exist_ok=True)
    (paths.work / "checkpoints" / "state").write_text(text)


def test_work_from_the_same_inputs_goes_on_and_other_work_is_kept_aside(tmp_path: Path) -> None:
    paths = RunDirectory(tmp_path).stage(2, "sft")
    assert (paths.final.name, paths.work.name) == ("02-sft", "02-sft.partial")
    assert begin(paths, "a", steps=10, seed=0) == Begun(resuming=False)
    work_in(paths, "of a")
    assert begin(paths, "a", steps=10, seed=0) == Begun(resuming=True)
    begun = begin(paths, "b", steps=20, seed=0)
    aside = tmp_path / "stages" / "02-sft.set-aside-1"
    assert begun == Begun(resuming=False, set_aside=aside, changed=("steps (10 -> 20)",))
    assert (aside / "checkpoints" / "state").read_text() == "of a"
    assert not (paths.work / "checkpoints").exists()
    work_in(paths, "of b")
    assert begin(paths, "c", steps=30, seed=0).set_aside == tmp_path / "stages" / "02-sft.set-aside-2"
    assert begin(paths, "c", steps=30, seed=0) == Begun(resuming=True)


def test_a_folder_without_work_is_no_work_to_keep(tmp_path: Path) -> None:
    paths = RunDirectory(tmp_path).stage(2, "sft")
    begin(paths, "a")
    (paths.work / "checkpoints").mkdir()
    assert begin(paths, "b") == Begun(resuming=False)
    assert sorted(path.name for path in (tmp_path / "stages").iterdir()) == ["02-sft.partial"]


def test_a_stage_goes_on_with_earlier_work_where_it_is_asked_to_and_once_only(tmp_path: Path) -> None:
    paths = RunDirectory(tmp_path).stage(2, "sft")
    begin(paths, "a", steps=10)
    work_in(paths, "of a")
    went_on = Begun(resuming=True, went_on=True, changed=("steps (10 -> 20)",))
    assert begin(paths, "b", go_on=True, steps=20) == went_on
    assert (paths.work / "checkpoints" / "state").read_text() == "of a"
    assert begin(paths, "b", go_on=True, steps=20) == Begun(resuming=True), "the same command, submitted again"
    assert begin(paths, "b", steps=20) == Begun(resuming=True)


def test_a_stage_goes_on_with_what_was_set_aside_and_what_was_begun_since_is_kept(tmp_path: Path) -> None:
    paths = RunDirectory(tmp_path).stage(2, "sft")
    begin(paths, "a", steps=10)
    work_in(paths, "of a")
    begin(paths, "b", steps=20)
    work_in(paths, "of b")
    assert begin(paths, "b", go_on=True, steps=20).changed == ("steps (10 -> 20)",)
    assert (paths.work / "checkpoints" / "state").read_text() == "of a"
    assert begin(paths, "b", go_on=True, steps=20) == Begun(resuming=True)
    kept = tmp_path / "stages" / "02-sft.set-aside-2" / "checkpoints" / "state"
    assert kept.read_text() == "of b"
