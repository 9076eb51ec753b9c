"""Checkpoints of models, optimizers and step through torch.distributed.checkpoint, for any number of ranks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load

from rlpost.errors import ArtifactError
from rlpost.learner.background_save import STEP_FILE, BackgroundSave
from rlpost.learner.safe_loading import SafePlanner, SafeReader
from rlpost.learner.sharding import reshard

# Frozen weights under an adapter are those of the stage's start, so they are not saved.
_OPTIONS = StateDictOptions(ignore_frozen_params=True)
_LOOSE = StateDictOptions(ignore_frozen_params=True, strict=False)


class CheckpointPart(NamedTuple):
    """A model in a checkpoint, with its optimizers if it is trained; `name` prefixes all of its entries."""

    name: str
    model: nn.Module
    optimizers: tuple[torch.optim.Optimizer, ...]


class Progress(NamedTuple):
    """The contents of a checkpoint apart from its tensors."""

    step: int
    has_reference: bool
    """Whether it contains a reference model, because the reference was refreshed during the stage."""


def begin_checkpoint(
    save: BackgroundSave, directory: Path, parts: Sequence[CheckpointPart], *, progress: Progress
) -> None:
    """Copy models and optimizers, and start to write them into `directory`, which must not exist. A collective."""
    record = {"step": progress.step, "reference": progress.has_reference, "ranks": dist.get_world_size()}
    save.begin(directory, _state_of(parts, step=progress.step), record=json.dumps(record))


def read_progress(directory: Path) -> Progress:
    """Read the record of a checkpoint, which says what `load_checkpoint` will find.

    Raises:
        ArtifactError: the directory is not a checkpoint.
    """
    try:
        record = json.loads((directory / STEP_FILE).read_text())
        return Progress(int(record["step"]), bool(record["reference"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{directory} must be a checkpoint with {STEP_FILE}; {error}") from error


def load_checkpoint(directory: Path, parts: Sequence[CheckpointPart], *, step: int) -> None:
    """Load models and optimizers in place. A collective.

    Raises:
        ArtifactError: the directory is not a complete checkpoint of these parts, or holds more than plain data.
    """
    for part in parts:
        reshard(part.model)
    state = _state_of(parts, step=step)
    try:
        load(state, storage_reader=SafeReader(directory), planner=SafePlanner())
    except CheckpointException as error:
        raise ArtifactError(
            f"{directory} must hold a complete checkpoint of this model; reading it failed: {error}: remove the "
            "folder to go on from an older checkpoint, or from the stage's start"
        ) from error
    for part in parts:
        model_state, optimizer_state = state[part.name], state.get(_optimizer_key(part))
        if not part.optimizers:
            set_model_state_dict(part.model, model_state)
        elif optimizer_state is None:
            set_model_state_dict(part.model, model_state, options=_LOOSE)
        else:
            set_state_dict(
                part.model,
                part.optimizers,
                model_state_dict=model_state,
                optim_state_dict=optimizer_state,
                options=_LOOSE,
            )


def _state_of(parts: Sequence[CheckpointPart], *, step: int) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for part in parts:
        if not part.optimizers:
            state[part.name] = get_model_state_dict(part.model)
            continue
        state[part.name] = _trainable_state(part.model)
        # Reading the state of an optimizer before its first step would make torch take a step.
        if step > 0:
            state[_optimizer_key(part)] = get_optimizer_state_dict(part.model, part.optimizers, options=_OPTIONS)
    return state


def _trainable_state(model: nn.Module) -> dict[str, Any]:
    state: dict[str, Any] = get_model_state_dict(model, options=_OPTIONS)
    # The option overlooks the second name of a tied weight.
    frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
    return {name: tensor for name, tensor in state.items() if name not in frozen}


def _optimizer_key(part: CheckpointPart) -> str:
    return "optimizer" if part.name == "model" else f"{part.name}_optimizer"
