from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
import torch
import xxhash
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model, tiny_qwen3

from rlpost.errors import DamagedWeightsError, ModelError
from rlpost.weight_file import (
    checksum_of,
    manifest_of_model_dir,
    mapped_tensors,
    shapes_of,
    verified_checksum,
    write_weight_file,
)


def test_a_weight_file_holds_every_tensor_under_its_name(tmp_path: Path) -> None:
    square = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "weights.safetensors"
    manifest = write_weight_file({"a": square, "transposed": square.t(), "half": square.bfloat16()}, path, version=4)
    loaded = load_file(path)
    assert torch.equal(loaded["a"], square)
    assert torch.equal(loaded["transposed"], square.t())
    assert loaded["half"].dtype == torch.bfloat16
    assert (manifest.version, manifest.path, manifest.tensor_count) == (4, str(path), 3)
    assert manifest.byte_count == path.stat().st_size


def test_tied_tensors_are_written_under_both_names(tmp_path: Path) -> None:
    state = tiny_qwen3(0, tied=True).state_dict()
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()
    write_weight_file(state, tmp_path / "weights", version=0)
    loaded = load_file(tmp_path / "weights")
    assert torch.equal(loaded["lm_head.weight"], loaded["model.embed_tokens.weight"])


def test_what_is_mapped_is_what_safetensors_reads(tmp_path: Path) -> None:
    numbers = torch.linspace(-3, 300, 24).reshape(2, 3, 4)
    types = [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    ]
    state = {str(dtype): numbers.abs().to(dtype) for dtype in types}
    state |= {"one": torch.tensor(7.0), "none": torch.zeros(0, 5), "odd": torch.ones(3, dtype=torch.uint8)}
    write_weight_file(state, tmp_path / "weights", version=0)
    mapped, loaded = mapped_tensors(tmp_path / "weights"), load_file(tmp_path / "weights")
    assert mapped.keys() == loaded.keys() == state.keys()
    for name, tensor in loaded.items():
        assert mapped[name].dtype == tensor.dtype
        assert mapped[name].shape == tensor.shape
        assert torch.equal(mapped[name], tensor)


def test_reading_again_and_again_leaves_nothing_behind(tmp_path: Path) -> None:
    state = {str(number): torch.zeros(300, 64) for number in range(20)}
    write_weight_file(state, tmp_path / "weights", version=0)
    blocks: list[int] = []
    for _ in range(2):
        for _ in range(20):
            mapped_tensors(tmp_path / "weights")
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert blocks[1] - blocks[0] < 20  # Of 400 tensors; safetensors' own reader leaves 800.


def test_a_type_that_no_learner_writes_is_refused(tmp_path: Path) -> None:
    write_weight_file({"tiny": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "weights", version=0)
    with pytest.raises(ModelError, match="'tiny': 'F8_E4M3'"):
        mapped_tensors(tmp_path / "weights")


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 100])
def test_the_checksum_is_xxh3_128_of_the_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert checksum_of(path) == xxhash.xxh3_128_hexdigest(content)


def test_the_checksum_sees_one_changed_bit(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    manifest = write_weight_file({"a": torch.zeros(1000)}, path, version=0)
    assert checksum_of(path) == manifest.checksum
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert checksum_of(path) != manifest.checksum


def test_a_model_directory_has_a_manifest(tmp_path: Path) -> None:
    directory = save_tiny_model(tmp_path / "model", tied=True, seed=0)
    manifest = manifest_of_model_dir(directory, version=3)
    names = load_file(directory / "model.safetensors").keys()
    assert manifest.path == str(directory / "model.safetensors")
    assert manifest.tensor_count == len(names)
    assert manifest.checksum == checksum_of(manifest.path)


def test_a_model_directory_in_shards_has_a_manifest_of_all_its_files(tmp_path: Path) -> None:
    model = tiny_qwen3(0, tied=False)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    manifest = manifest_of_model_dir(tmp_path, version=2)
    state = model.state_dict()
    assert len(shards) > 1
    assert (manifest.path, manifest.tensor_count) == (str(tmp_path), len(state))
    assert manifest.byte_count == sum(shard.stat().st_size for shard in shards)
    mapped = mapped_tensors(tmp_path)
    assert mapped.keys() == state.keys()
    assert all(torch.equal(mapped[name], state[name]) for name in state)
    assert verified_checksum(tmp_path, expected=manifest.checksum, version=2) == manifest.checksum
    content = bytearray(shards[-1].read_bytes())
    content[-1] ^= 1
    shards[-1].write_bytes(content)
    with pytest.raises(DamagedWeightsError, match="must have the checksum"):
        verified_checksum(tmp_path, expected=manifest.checksum, version=2)


def test_weights_beside_an_index_are_no_part_of_the_manifest(tmp_path: Path) -> None:
    tiny_qwen3(0, tied=False).save_pretrained(tmp_path, max_shard_size="50KB")
    alone = manifest_of_model_dir(tmp_path, version=0)
    save_file({"layers.0.attention.wq.weight": torch.zeros(2, 2)}, tmp_path / "consolidated.safetensors")
    assert manifest_of_model_dir(tmp_path, version=0) == alone
    assert "layers.0.attention.wq.weight" not in shapes_of(tmp_path)
