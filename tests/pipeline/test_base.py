from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from opened import data_cache
from safetensors.torch import load_file, save_file
from small_run import recipe_document, recipe_of
from tiny_models import BYTE_VOCAB_SIZE, save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlpost.errors import ModelError
from rlpost.pipeline.base import build_base


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "given", tied=True, seed=0, hidden_size=32, layers=1, heads=1)


def build(tmp_path: Path, **model: Any) -> Path:
    document = recipe_document(tmp_path)
    document["model"] = {"max_length": 48, "dtype": "float32"} | model
    build_base(recipe_of(document), tmp_path / "base", cache=data_cache())
    return tmp_path / "base"


def refusal(tmp_path: Path, **model: Any) -> str:
    with pytest.raises(ModelError) as raised:
        build(tmp_path, **model)
    return str(raised.value)


def new_model(tmp_path: Path, **config: Any) -> dict[str, Any]:
    model = recipe_document(tmp_path)["model"]
    return model | {"config": model["config"] | config}


def test_weights_of_a_given_model_are_linked_and_small_files_copied(tmp_path: Path, given: Path) -> None:
    base = build(tmp_path, path=str(given))
    assert (base / "model.safetensors").is_symlink()
    assert (base / "model.safetensors").resolve() == (given / "model.safetensors").resolve()
    assert json.loads((base / "config.json").read_text()) == json.loads((given / "config.json").read_text())
    assert not (base / "config.json").is_symlink()
    loaded, original = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (base, given))
    assert all(torch.equal(loaded[name], original[name]) for name in original)


def test_a_template_of_the_recipe_replaces_the_given_one_in_the_artifact_only(tmp_path: Path, given: Path) -> None:
    own = AutoTokenizer.from_pretrained(given).chat_template
    base = build(tmp_path, path=str(given), chat_template="rlpost:tulu")
    assert "<|assistant|>" in AutoTokenizer.from_pretrained(base).chat_template
    assert AutoTokenizer.from_pretrained(given).chat_template == own


def test_a_new_model_fits_its_tokenizer_and_follows_the_seed(tmp_path: Path) -> None:
    bases = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bases.append(build(tmp_path / name, **new_model(tmp_path / name)))
    one, two = (load_file(base / "model.safetensors") for base in bases)
    assert all(torch.equal(one[name], two[name]) for name in one)
    config, tokenizer = json.loads((bases[0] / "config.json").read_text()), AutoTokenizer.from_pretrained(bases[0])
    assert config["vocab_size"] == len(tokenizer)
    assert (config["max_position_embeddings"], config["eos_token_id"]) == (48, tokenizer.eos_token_id)


def test_a_folder_without_config_or_weights_is_no_model(tmp_path: Path, given: Path) -> None:
    (given / "model.safetensors").rename(given / "model.bin")
    assert "must hold weights as *.safetensors" in refusal(tmp_path, path=str(given))
    (given / "config.json").unlink()
    assert "has no config.json" in refusal(tmp_path, path=str(given))
    assert not (tmp_path / "base").exists()


def test_cut_off_weights_are_no_model(tmp_path: Path, given: Path) -> None:
    weights = (given / "model.safetensors").read_bytes()
    (given / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "model.safetensors must be a whole *.safetensors file" in refusal(tmp_path, path=str(given))


def test_a_second_set_of_weights_is_not_linked(tmp_path: Path, given: Path) -> None:
    save_file({"layers.0.attention.wq.weight": torch.zeros(2, 2)}, given / "consolidated.safetensors")
    base = build(tmp_path, path=str(given))
    assert [file.name for file in base.glob("*.safetensors")] == ["model.safetensors"]


def test_a_model_in_several_files_is_linked_whole(tmp_path: Path, given: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(given)
    (given / "model.safetensors").unlink()
    model.save_pretrained(given, max_shard_size="20KB")
    save_file({"layers.0.attention.wq.weight": torch.zeros(2, 2)}, given / "consolidated.safetensors")
    base = build(tmp_path, path=str(given))
    assert len(list(base.glob("*.safetensors"))) == len(list(given.glob("model-*.safetensors"))) > 1
    loaded = AutoModelForCausalLM.from_pretrained(base).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in model.state_dict().items())


def test_a_new_model_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        base = build(tmp_path, **new_model(tmp_path))
    finally:
        os.umask(before)
    assert {oct(file.stat().st_mode & 0o777) for file in base.iterdir()} == {oct(0o640)}


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_weights_is_refused_at_once(tmp_path: Path, given: Path) -> None:
    (given / "model.safetensors").unlink()
    os.mkfifo(given / "model.safetensors")
    assert "model.safetensors: it is not a regular file" in refusal(tmp_path, path=str(given))


def test_integer_weights_are_no_model(tmp_path: Path, given: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    state = load_file(given / "model.safetensors")
    save_file(state | {name: state[name].to(torch.int8)}, given / "model.safetensors", metadata={"format": "pt"})
    assert f"{name} in {given / 'model.safetensors'} is I8" in refusal(tmp_path, path=str(given))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"model_type": "gwen"}',
        '{"model_type": "qwen3", "vocab_size": "x"}',
        '{"model_type": "qwen3", "rope_scaling": 3}',
    ],
)
def test_a_given_configuration_that_transformers_does_not_know_is_refused(
    tmp_path: Path, given: Path, text: str
) -> None:
    (given / "config.json").write_text(text)
    message = refusal(tmp_path, path=str(given), tokenizer=str(save_tiny_model(tmp_path / "t", tied=True, seed=0)))
    assert "given/config.json must be a configuration that transformers knows; found: " in message
    assert "Error: " not in message and "<class" not in message


def test_a_given_configuration_that_is_no_json_is_refused(tmp_path: Path, given: Path) -> None:
    (given / "config.json").write_text("nonsense")
    assert "given/config.json must be the JSON configuration of a model" in refusal(tmp_path, path=str(given))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gwen"},
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"hidden_size": -4},
        {"rope_scaling": 3},
    ],
)
def test_a_new_model_that_transformers_cannot_build_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    message = refusal(tmp_path, **new_model(tmp_path, **config))
    assert message.startswith("model.config must ")
    assert "Error: " not in message and "<class" not in message


@pytest.mark.parametrize(
    ("key", "words"),
    [("hidden_sizes", "did you mean `hidden_size`?"), ("tie_word_embedding", "did you mean `tie_word_embeddings`?")],
)
def test_a_key_that_nothing_of_the_family_reads_is_refused(tmp_path: Path, key: str, words: str) -> None:
    message = refusal(tmp_path, **new_model(tmp_path, **{key: 64}))
    assert message.startswith(f"model.config has keys of qwen3 only, and nothing reads '{key}': {words}")


@pytest.mark.parametrize(
    "config",
    [
        {"rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {"torch_dtype": "float32", "attn_implementation": "sdpa", "architectures": ["Qwen3ForCausalLM"]},
        {"model_type": "gpt2", "n_embd": 32, "n_head": 1, "n_layer": 1},
        {"model_type": "llama", "mlp_bias": True, "pretraining_tp": 1},
    ],
    ids=lambda config: next(iter(config)),
)
def test_old_names_and_names_of_all_families_are_known(tmp_path: Path, config: dict[str, Any]) -> None:
    model = new_model(tmp_path)
    if config.get("model_type") == "gpt2":
        model["config"] = config
    else:
        model["config"] |= config
    assert (build(tmp_path, **model) / "config.json").is_file()


def test_a_new_model_of_a_slip_of_zeros_is_refused_before_any_of_it_is_made(tmp_path: Path) -> None:
    for key in ("num_hidden_layers", "hidden_size", "intermediate_size"):
        folder = tmp_path / key
        folder.mkdir()
        message = refusal(folder, **new_model(folder, **{key: 10**10}))
        assert re.match(r"a new model must fit in this machine's memory of \d+ GiB .* describes one of .* GiB", message)


def test_a_broken_tokenizer_of_a_given_model_is_refused(tmp_path: Path, given: Path) -> None:
    for text in ('{"version": "1.0", "model": {"type": "nothing"}}', "{", "[]"):
        (given / "tokenizer.json").write_text(text)
        assert "given/tokenizer.json must load and encode a short text" in refusal(tmp_path, path=str(given))
        shutil.rmtree(tmp_path / "base", ignore_errors=True)


def test_a_context_shorter_than_the_longest_sequence_is_refused(tmp_path: Path, given: Path) -> None:
    message = refusal(tmp_path, path=str(given), max_length=2048)
    assert "at most the model's context of 1024 tokens" in message and "found 2048: lower it" in message


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path, given: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(given)
    tokenizer.add_tokens(["<one>", "<two>"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    message = refusal(tmp_path, path=str(given), tokenizer=str(tmp_path / "tokenizer"))
    assert f"{BYTE_VOCAB_SIZE + 2} tokens; its vocab_size is {BYTE_VOCAB_SIZE}" in message


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path, given: Path) -> None:
    for file in given.glob("tokenizer*"):
        file.unlink()
    assert "must hold a tokenizer (tokenizer.json, *.model, vocab.*): set model.tokenizer" in refusal(
        tmp_path, path=str(given)
    )


def test_a_model_of_a_hub_that_cannot_be_reached_is_refused(tmp_path: Path) -> None:
    assert "'some-org/some-model' is no directory here, and the hub answered" in refusal(
        tmp_path, path="some-org/some-model"
    )
