# pyright: reportPrivateUsage=false
# The writer of a save is held back and broken here.
"""Checkpoints that are written while training goes on, on one rank and on two."""

from __future__ import annotations

import errno
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from learner_inputs import AdvantageLoss, random_batch, same_bits, save_whole, settings_of, whole_weights
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import StorageError
from rlpost.learner.local import LocalLearner


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("background") / "model", tied=True, seed=5, heads=4)


def built(model_dir: Path, mesh: DeviceMesh, *, steps: int) -> LocalLearner:
    learner = LocalLearner(settings_of(model_dir), mesh)
    take_steps(learner, 0, steps)
    return learner


def take_steps(learner: LocalLearner, first: int, end: int) -> None:
    for seed in range(first, end):
        learner.step(random_batch(seed=seed), AdvantageLoss())


@contextmanager
def held_back() -> Generator[threading.Event]:
    """No rank writes a byte before the event is set."""
    gate, write = threading.Event(), FileSystemWriter.write_data

    def wait_and_write(*arguments: Any) -> Any:
        assert gate.wait(60), "the test never opened the gate"
        return write(*arguments)

    FileSystemWriter.write_data = wait_and_write
    try:
        yield gate
    finally:
        gate.set()
        FileSystemWriter.write_data = write


def trained_on_while_saving(mesh: DeviceMesh, model_dir: Path, folder: Path) -> None:
    """Two steps, a checkpoint at once, and one whose files come after two more steps."""
    learner = built(model_dir, mesh, steps=2)
    save_whole(learner, folder / "at once")
    with held_back() as gate:
        learner.save_checkpoint(folder / "later")
        take_steps(learner, 2, 4)
        assert not learner.finish_checkpoint(wait=False)
        gate.set()
        assert learner.finish_checkpoint(wait=True)
    undisturbed = built(model_dir, mesh, steps=4)
    assert same_bits(whole_weights(learner), whole_weights(undisturbed))
    resumed = built(model_dir, mesh, steps=0)
    resumed.load_checkpoint(folder / "later")
    assert same_bits(whole_weights(resumed), whole_weights(built(model_dir, mesh, steps=2)))
    take_steps(resumed, 2, 4)
    assert same_bits(whole_weights(resumed), whole_weights(undisturbed))


@pytest.mark.parametrize("ranks", [1, 2])
def test_files_that_come_later_have_the_bits_of_files_that_came_at_once(
    model_dir: Path, tmp_path: Path, ranks: int
) -> None:
    run_on_ranks(trained_on_while_saving, model_dir, tmp_path, ranks=ranks)
    names = sorted(path.name for path in (tmp_path / "later").glob("*.distcp"))
    assert names == [f"__{rank}_0.distcp" for rank in range(ranks)]
    for name in (*names, "learner.json"):
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()


def breaking_save(mesh: DeviceMesh, model_dir: Path, folder: Path, error: Exception) -> list[str]:
    """What the ranks say when the last one cannot write; then they go on, and save."""
    learner, write = built(model_dir, mesh, steps=1), FileSystemWriter.write_data

    def break_off(*arguments: Any) -> Any:
        if dist.get_rank() == dist.get_world_size() - 1:
            raise error
        return write(*arguments)

    FileSystemWriter.write_data = break_off
    try:
        learner.save_checkpoint(folder / "broken")
        with pytest.raises((StorageError, RuntimeError)) as caught:
            learner.finish_checkpoint(wait=True)
    finally:
        FileSystemWriter.write_data = write
    said: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(said, f"{type(caught.value).__name__}: {caught.value}")
    take_steps(learner, 1, 2)
    save_whole(learner, folder / "whole")
    return said


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "StorageError: the disk must have room for what a run"),
        (PermissionError(errno.EACCES, "Permission denied"), "RuntimeError: writing a checkpoint into "),
    ],
)
def test_what_one_rank_cannot_write_all_ranks_say_and_none_hangs(
    model_dir: Path, tmp_path: Path, error: OSError, told: str
) -> None:
    said = run_on_ranks(breaking_save, model_dir, tmp_path, error, ranks=2)
    assert len(said) == 2 and all(each.startswith(told) and "broken" in each for each in said)
    assert not (tmp_path / "broken" / "learner.json").exists()
    assert (tmp_path / "whole" / "learner.json").exists()


def dropped_while_saving(mesh: DeviceMesh, model_dir: Path, folder: Path) -> None:
    learner = built(model_dir, mesh, steps=1)
    with held_back() as gate:
        learner.save_checkpoint(folder / "checkpoint")
        threading.Timer(0.1, gate.set).start()
        learner.close()
    assert (folder / "checkpoint" / ".metadata").exists()
    assert learner.finish_checkpoint(wait=False), "nothing is under way"


def test_a_learner_that_is_dropped_leaves_no_thread_in_a_collective(model_dir: Path, tmp_path: Path) -> None:
    run_on_ranks(dropped_while_saving, model_dir, tmp_path, ranks=2)
    assert (tmp_path / "checkpoint" / "learner.json").exists(), "what was begun is whole"
