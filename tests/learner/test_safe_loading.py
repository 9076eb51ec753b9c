# pyright: reportPrivateUsage=false
# A hostile checkpoint is made with what makes a normal one.
"""A checkpoint is data: what stands in it is never run."""

from __future__ import annotations

import collections
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from learner_inputs import AdvantageLoss, random_batch, same_bits, save_whole, settings_of, whole_weights
from tiny_models import save_tiny_model
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.device_mesh import DeviceMesh

from rlpost.errors import ArtifactError
from rlpost.learner.background_save import BackgroundSave
from rlpost.learner.checkpoint import _state_of
from rlpost.learner.local import LocalLearner


class Hostile:
    """Calls something when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self._reduced

    def __deepcopy__(self, memo: object) -> Hostile:
        return self


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("safe") / "model", tied=True, seed=8)


def stepped(model_dir: Path, mesh: DeviceMesh) -> LocalLearner:
    learner = LocalLearner(settings_of(model_dir), mesh)
    learner.step(random_batch(seed=0), AdvantageLoss())
    return learner


def refused(model_dir: Path, mesh: DeviceMesh, directory: Path) -> str:
    learner = stepped(model_dir, mesh)
    before = whole_weights(learner)
    with pytest.raises(ArtifactError, match="must hold a complete checkpoint") as caught:
        learner.load_checkpoint(directory)
    assert same_bits(whole_weights(learner), before)
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "named"),
    [(os.mkdir, "posix.mkdir"), (subprocess.getoutput, "subprocess.getoutput"), (eval, "builtins.eval")],
)
@pytest.mark.parametrize("place", ["whole", "inside"])
def test_a_description_that_calls_something_is_refused_and_the_call_is_not_made(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path, call: Callable[..., Any], named: str, place: str
) -> None:
    directory, proof = tmp_path / "checkpoint", tmp_path / "proof"
    save_whole(stepped(model_dir, mesh), directory)
    argument = {
        os.mkdir: str(proof),
        subprocess.getoutput: f"mkdir {proof}",
        eval: f"__import__('os').mkdir({str(proof)!r})",
    }[call]
    hostile: Any = Hostile(call, argument)
    if place == "inside":
        described = FileSystemReader(directory).read_metadata()
        described.planner_data = {**described.planner_data, "model.extra": hostile}
        hostile = described
    (directory / ".metadata").write_bytes(pickle.dumps(hostile))
    assert f"it names {named}" in refused(model_dir, mesh, directory)
    assert not proof.exists()
    pickle.loads((directory / ".metadata").read_bytes())
    assert proof.exists(), "read by pickle it would have been made"


def test_a_description_that_describes_nothing_is_refused(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    save_whole(stepped(model_dir, mesh), directory)
    (directory / ".metadata").write_bytes(pickle.dumps({"state_dict_metadata": {}}))
    assert "must describe a checkpoint; found dict" in refused(model_dir, mesh, directory)
    (directory / ".metadata").write_bytes(pickle.dumps(collections.Counter()))
    assert "it names collections.Counter" in refused(model_dir, mesh, directory)


def test_a_coefficient_that_calls_something_is_refused_and_the_call_is_not_made(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    directory, proof = tmp_path / "checkpoint", tmp_path / "proof"
    learner = stepped(model_dir, mesh)
    state = _state_of(learner.rank._checkpoint_parts(), step=1)
    groups = state["optimizer"]["param_groups"]
    name = next(name for name in groups if name.endswith(".lr")) if isinstance(groups, dict) else None
    (groups if name else groups[0])[name or "lr"] = Hostile(os.mkdir, str(proof))
    save = BackgroundSave()
    save.begin(directory, state, record=json.dumps({"step": 1, "reference": False}))
    assert save.finish(wait=True)
    save.close()
    with pytest.raises(ArtifactError, match=r"(?s)must hold a complete checkpoint.*Weights only load failed"):
        learner.load_checkpoint(directory)
    assert not proof.exists()


def test_what_a_learner_saves_names_nothing_that_is_refused(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    learner = stepped(model_dir, mesh)
    save_whole(learner, tmp_path / "checkpoint")
    resumed = LocalLearner(settings_of(model_dir), mesh)
    resumed.load_checkpoint(tmp_path / "checkpoint")
    assert same_bits(whole_weights(resumed), whole_weights(learner))
    assert isinstance(FileSystemReader(tmp_path / "checkpoint").read_metadata(), Metadata), "torch still reads it"
