# pyright: reportPrivateUsage=false
# What FSDP holds inside a learner is what these tests are about.
"""What a learner writes: checkpoints, published weights, model directories."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from learner_inputs import AdvantageLoss, random_batch, same_bits, save_whole, settings_of, whole_weights
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoConfig, AutoModelForCausalLM

from rlpost.errors import ArtifactError, ModelError
from rlpost.learner.local import LocalLearner
from rlpost.recipe.sections import LoraConfig
from rlpost.weight_file import checksum_of


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory, tied: bool) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("files") / "model", tied=tied, seed=4)


def stepped(model_dir: Path, mesh: DeviceMesh, *, steps: int = 2, **changes: Any) -> LocalLearner:
    settings = settings_of(model_dir, optimizer={"schedule": "cosine", "warmup_ratio": 0.3}, **changes)
    learner = LocalLearner(settings, mesh)
    for seed in range(steps):
        learner.step(random_batch(seed=seed), AdvantageLoss())
    return learner


def test_resumed_equals_uninterrupted_bit_for_bit(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    learner = stepped(model_dir, mesh)
    save_whole(learner, tmp_path / "checkpoint")
    resumed = stepped(model_dir, mesh, steps=0)
    resumed.load_checkpoint(tmp_path / "checkpoint")
    assert resumed.rank.steps_taken == 2
    for seed in range(2, 4):
        expected = learner.step(random_batch(seed=seed), AdvantageLoss())
        found = resumed.step(random_batch(seed=seed), AdvantageLoss())
        assert (found.step, found.loss, found.grad_norm, found.learning_rate) == (
            seed + 1,
            expected.loss,
            expected.grad_norm,
            expected.learning_rate,
        )
    assert same_bits(whole_weights(resumed), whole_weights(learner))


def test_a_checkpoint_before_the_first_step_changes_nothing(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    saving, other, resumed = (LocalLearner(settings_of(model_dir), mesh) for _ in range(3))
    save_whole(saving, tmp_path / "checkpoint")
    resumed.load_checkpoint(tmp_path / "checkpoint")
    for learner in (saving, other, resumed):
        learner.step(random_batch(seed=1), AdvantageLoss())
    assert same_bits(whole_weights(saving), whole_weights(other))
    assert same_bits(whole_weights(resumed), whole_weights(other))


def test_saving_a_checkpoint_changes_nothing(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    saving, other = (stepped(model_dir, mesh) for _ in range(2))
    save_whole(saving, tmp_path / "checkpoint")
    for learner in (saving, other):
        learner.step(random_batch(seed=2), AdvantageLoss())
    assert same_bits(whole_weights(saving), whole_weights(other))


def damaged(tmp_path: Path, checkpoint: Path, damage: str) -> Path:
    directory = tmp_path / "damaged"
    shutil.copytree(checkpoint, directory)
    match damage:
        case "no directory":
            shutil.rmtree(directory)
        case "no step":
            (directory / "learner.json").unlink()
        case "step is not a record":
            (directory / "learner.json").write_text("[]")
        case "no metadata":
            (directory / ".metadata").unlink()
        case "no shards":
            for path in directory.glob("*.distcp"):
                path.unlink()
        case "half a shard":
            for path in directory.glob("*.distcp"):
                path.write_bytes(path.read_bytes()[:1000])
        case _:
            raise AssertionError(damage)
    return directory


@pytest.mark.parametrize(
    "damage", ["no directory", "no step", "step is not a record", "no metadata", "no shards", "half a shard"]
)
def test_what_is_not_a_whole_checkpoint_is_refused(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path, damage: str
) -> None:
    learner = stepped(model_dir, mesh)
    save_whole(learner, tmp_path / "checkpoint")
    directory = damaged(tmp_path, tmp_path / "checkpoint", damage)
    with pytest.raises(ArtifactError, match="damaged must"):
        stepped(model_dir, mesh, steps=0).load_checkpoint(directory)


def test_a_checkpoint_of_another_model_is_refused(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    save_whole(stepped(model_dir, mesh), tmp_path / "checkpoint")
    deeper = save_tiny_model(tmp_path / "deeper", tied=True, seed=0, layers=3)
    with pytest.raises(ArtifactError, match="complete checkpoint of this model"):
        stepped(deeper, mesh, steps=0).load_checkpoint(tmp_path / "checkpoint")


def test_an_exported_model_is_a_hugging_face_model(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path, tied: bool
) -> None:
    learner = stepped(model_dir, mesh)
    learner.export(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["dtype"] == "float32"
    assert config["tie_word_embeddings"] is tied
    assert ("lm_head.weight" in load_file(tmp_path / "model" / "model.safetensors")) is not tied
    loaded, report = _loaded_with_report(tmp_path / "model")
    assert not any(report.values())
    assert same_bits(dict(loaded.named_parameters()), whole_weights(learner))


def _loaded_with_report(model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(model_dir, output_loading_info=True)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4.0)], ids=["whole", "adapter"])
def test_exported_files_follow_the_umask(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path, lora: LoraConfig | None
) -> None:
    before = os.umask(0o027)
    try:
        LocalLearner(settings_of(model_dir, lora=lora), mesh).export(tmp_path / "model")
    finally:
        os.umask(before)
    files = [file for file in (tmp_path / "model").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".safetensors", ".json"}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {oct(0o640)}


def test_an_export_keeps_the_generation_config_of_the_start(mesh: DeviceMesh, tmp_path: Path) -> None:
    start = save_tiny_model(tmp_path / "start", tied=True, seed=0)
    (start / "generation_config.json").write_text('{"eos_token_id": [1, 7], "temperature": 0.6}')
    stepped(start, mesh, steps=0).export(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text()) == {
        "eos_token_id": [1, 7],
        "temperature": 0.6,
    }


def test_a_start_without_a_generation_config_exports(mesh: DeviceMesh, tmp_path: Path) -> None:
    start = save_tiny_model(tmp_path / "start", tied=True, seed=0)
    (start / "generation_config.json").unlink()
    stepped(start, mesh, steps=0).export(tmp_path / "model")
    assert AutoConfig.from_pretrained(tmp_path / "model").model_type == "qwen3"


def test_bfloat16_is_exported_and_published_rounded_once(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    learner = stepped(model_dir, mesh, model_dtype="bfloat16")
    learner.export(tmp_path / "model")
    learner.write_weights(tmp_path / "weights.safetensors", version=1)
    rounded = {name: weight.to(torch.bfloat16) for name, weight in whole_weights(learner).items()}
    published = load_file(tmp_path / "weights.safetensors")
    published.pop("lm_head.weight")
    rounded_body = {name: weight for name, weight in rounded.items() if name != "lm_head.weight"}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    assert same_bits(load_file(tmp_path / "model" / "model.safetensors"), rounded)
    assert same_bits(published, rounded_body)


def test_published_weights_have_every_name_of_the_hugging_face_model(
    model_dir: Path, mesh: DeviceMesh, tmp_path: Path
) -> None:
    learner = stepped(model_dir, mesh)
    manifest = learner.write_weights(tmp_path / "weights.safetensors", version=9)
    written = load_file(tmp_path / "weights.safetensors")
    learner.export(tmp_path / "model")
    expected = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    assert "lm_head.weight" in expected
    assert same_bits(written, expected)
    assert (manifest.version, manifest.tensor_count) == (9, len(expected))
    assert manifest.checksum == checksum_of(tmp_path / "weights.safetensors")
    assert manifest.byte_count == (tmp_path / "weights.safetensors").stat().st_size


def test_buffers_that_belong_to_the_model_are_published(model_dir: Path, mesh: DeviceMesh, tmp_path: Path) -> None:
    learner = stepped(model_dir, mesh, model_dtype="bfloat16")
    learner.rank._policy.module.register_buffer("routing_bias", torch.tensor([0.5, -0.25]))
    learner.rank._policy.module.register_buffer("counts", torch.tensor([300, 1]))
    learner.write_weights(tmp_path / "weights.safetensors", version=1)
    written = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(written["routing_bias"], torch.tensor([0.5, -0.25], dtype=torch.bfloat16))
    assert torch.equal(written["counts"], torch.tensor([300, 1]))


def test_a_directory_without_a_model_is_refused(mesh: DeviceMesh, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="must hold weights as"):
        LocalLearner(settings_of(tmp_path), mesh)
    save_file({"a.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="must be a Hugging Face directory"):
        LocalLearner(settings_of(tmp_path), mesh)


def test_a_model_with_recurrent_layers_is_refused(mesh: DeviceMesh, tmp_path: Path) -> None:
    config = AutoConfig.for_model("mamba", vocab_size=32, hidden_size=16, state_size=4, num_hidden_layers=1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="MambaForCausalLM has recurrent layers"):
        LocalLearner(settings_of(tmp_path), mesh)
