"""Checkpoints of policy, optimizer and step through torch.distributed.checkpoint; any number of ranks may read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from torch.distributed.checkpoint.state_dict_saver import save

from rlpost.errors import ArtifactError

_STEP_FILE = "learner.json"
# Frozen weights under an adapter are in the stage's start already.
_OPTIONS = StateDictOptions(ignore_frozen_params=True)


def save_checkpoint(directory: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write into `directory`, which must not exist. A collective."""
    save(_state_of(model, optimizer, step=step), checkpoint_id=directory)
    if dist.get_rank() == 0:
        (directory / _STEP_FILE).write_text(json.dumps({"step": step, "ranks": dist.get_world_size()}))
    dist.barrier()


def load_checkpoint(directory: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Fill model and optimizer in place and return the step. A collective.

    Raises:
        ArtifactError: the directory is not a complete checkpoint.
    """
    step = _read_step(directory)
    state = _state_of(model, optimizer, step=step)
    try:
        load(state, checkpoint_id=directory)
    except CheckpointException as error:
        raise ArtifactError(
            f"{directory} must hold a complete checkpoint of this model; reading it failed: {error}: remove the "
            "folder to go on from an older checkpoint, or from the stage's start"
        ) from error
    loose = StateDictOptions(ignore_frozen_params=True, strict=False)
    if step == 0:
        set_model_state_dict(model, state["model"], options=loose)
    else:
        set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=loose
        )
    return step


def _state_of(model: nn.Module, optimizer: torch.optim.Optimizer, *, step: int) -> dict[str, Any]:
    model_state: dict[str, Any] = get_model_state_dict(model, options=_OPTIONS)
    # The option overlooks the second name of a tied weight.
    frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
    state: dict[str, Any] = {"model": {name: tensor for name, tensor in model_state.items() if name not in frozen}}
    # Asking for the state of an optimizer that has taken no step makes torch take one.
    if step > 0:
        state["optimizer"] = get_optimizer_state_dict(model, optimizer, options=_OPTIONS)
    return state


def _read_step(directory: Path) -> int:
    try:
        return int(json.loads((directory / _STEP_FILE).read_text())["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{directory} must be a checkpoint with {_STEP_FILE}; {error}") from error
