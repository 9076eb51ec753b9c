"""Models that cannot be trained as they are get refused when they are read, by the name of what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model
from torch import Tensor
from transformers import PreTrainedModel

from rlpost.errors import ModelError
from rlpost.learner.loading import load_language_model, load_scorer

Load = Callable[..., PreTrainedModel]
UP = "model.layers.1.mlp.up_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", tied=False, seed=0)


def changed(model_dir: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    state = load_file(model_dir / "model.safetensors")
    change(state)
    save_file(state, model_dir / "model.safetensors", metadata={"format": "pt"})


def refusal(model_dir: Path, load: Load) -> str:
    with pytest.raises(ModelError) as raised:
        load(str(model_dir), trust_remote_code=False)
    return str(raised.value)


both = pytest.mark.parametrize("load", [load_language_model, load_scorer])


@both
def test_missing_weights_are_named(model_dir: Path, load: Load) -> None:
    changed(model_dir, lambda state: [state.pop(UP), state.pop(DOWN)])
    assert f"must hold all weights of the model; missing: {DOWN}, {UP}: " in refusal(model_dir, load)


def test_a_missing_head_is_named_unless_it_is_tied(model_dir: Path, tmp_path: Path) -> None:
    changed(model_dir, lambda state: state.pop("lm_head.weight"))
    assert "missing: lm_head.weight: " in refusal(model_dir, load_language_model)
    tied = save_tiny_model(tmp_path / "tied", tied=True, seed=0)
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    load_language_model(str(tied), trust_remote_code=False)


@both
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(model_dir: Path, load: Load, number: float) -> None:
    changed(model_dir, lambda state: state[UP][3].fill_(number))
    assert f"must be finite numbers; not finite: {UP}: " in refusal(model_dir, load)


@both
@pytest.mark.parametrize(("dtype", "kind"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_integer_and_8_bit_weights_are_named(model_dir: Path, load: Load, dtype: torch.dtype, kind: str) -> None:
    changed(model_dir, lambda state: state.update({UP: (100 * state[UP]).to(dtype)}))
    assert f"{UP} in {model_dir / 'model.safetensors'} is {kind}: " in refusal(model_dir, load)


@both
def test_weights_of_another_shape_are_refused(model_dir: Path, load: Load) -> None:
    changed(model_dir, lambda state: state.update({UP: state[UP][:5].clone()}))
    assert "must be a Hugging Face directory with config.json and weights" in refusal(model_dir, load)


@pytest.mark.timeout(20)
@both
def test_a_pipe_in_place_of_weights_is_refused_at_once(model_dir: Path, load: Load) -> None:
    (model_dir / "model.safetensors").unlink()
    os.mkfifo(model_dir / "model.safetensors")
    assert "model.safetensors: it is not a regular file" in refusal(model_dir, load)
