"""Model directories merged into one that transformers loads; models that do not fit leave no file behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model
from transformers import AutoModelForCausalLM

from rlpost.errors import ModelError
from rlpost.learner.merged_model import write_merged_model
from rlpost.learner.merging import Merge
from rlpost.recipe.model_layout import layout, weight_files


def merged(out: Path, *sources: Path, base: Path | None = None, **settings: Any) -> Path:
    dtype = settings.pop("dtype", "float32")
    weights = tuple(1.0 for _ in sources)
    merge = Merge(**{"method": "linear", "weights": weights, "density": 1.0, "scale": 1.0, "seed": "0", **settings})
    told: list[int] = []
    write_merged_model(out, sources=sources, base=base, merge=merge, dtype=dtype, on_tensor=told.append)
    assert told == list(range(1, len(layout(sources[0])) + 1))
    return out


def model(folder: Path, seed: int, **shape: Any) -> Path:
    save_tiny_model(folder, seed=seed, **{"tied": False, **shape})
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_merged_with_itself_has_the_same_weights(tmp_path: Path, tied: bool) -> None:
    source = model(tmp_path / "source", 1, tied=tied)
    out = merged(tmp_path / "out", source, source)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    before = {name: before[name] for name in layout(source)}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].view(torch.int32), after[name].view(torch.int32)) for name in before)


def test_a_merge_of_two_is_their_mean_and_transformers_loads_it(tmp_path: Path) -> None:
    sources = [model(tmp_path / str(seed), seed, tied=True) for seed in (1, 2)]
    out = merged(tmp_path / "out", *sources, dtype="bfloat16")
    loaded, report = AutoModelForCausalLM.from_pretrained(out, dtype="auto", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    first, second = (AutoModelForCausalLM.from_pretrained(source).state_dict() for source in sources)
    for name, weight in loaded.state_dict().items():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, ((first[name] + second[name]) / 2).to(torch.bfloat16)), name
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_merge_has_a_generation_config_also_where_its_first_source_has_none(tmp_path: Path) -> None:
    source = model(tmp_path / "source", 1)
    (source / "generation_config.json").unlink()
    out = merged(tmp_path / "out", source, source)
    ends = json.loads((source / "config.json").read_text())["eos_token_id"]
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == ends
    assert AutoModelForCausalLM.from_pretrained(out).generation_config.eos_token_id == ends


def test_task_vectors_count_from_the_base(tmp_path: Path) -> None:
    base, one, two = (model(tmp_path / str(seed), seed) for seed in (1, 2, 3))
    out = merged(tmp_path / "out", one, two, base=base, method="task_arithmetic")
    at = "model.layers.1.mlp.up_proj.weight"
    weights = [load_file(folder / "model.safetensors")[at] for folder in (base, one, two, out)]
    torch.testing.assert_close(weights[3], weights[1] + weights[2] - weights[0])


def test_the_files_that_an_index_names_are_read_and_no_second_set_beside_them(tmp_path: Path) -> None:
    whole = model(tmp_path / "whole", 1)
    split = model(tmp_path / "split", 1)
    state = load_file(split / "model.safetensors")
    (split / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"model-1.safetensors": names[:5], "model-2.safetensors": names[5:]}
    for file, chosen in parts.items():
        save_file({name: state[name] for name in chosen}, split / file)
    index = {"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}
    (split / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"layers.0.w1": torch.ones(2)}, split / "consolidated.safetensors")
    assert layout(split) == layout(whole)
    assert {file.name for file in weight_files(split).values()} == set(parts)
    out = merged(tmp_path / "out", split, whole)
    assert torch.equal(load_file(out / "model.safetensors")[names[0]], state[names[0]])


def test_models_of_other_shapes_or_names_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    first, wide = model(tmp_path / "first", 1), model(tmp_path / "wide", 1, hidden_size=96)
    with pytest.raises(ModelError, match=r"head.weight is of shape \[258, 64\] in .*first and of shape \[258, 96\] in"):
        merged(tmp_path / "out", first, wide)
    deep = model(tmp_path / "deep", 1, layers=3)
    with pytest.raises(ModelError, match=r"model.layers.2\S+ is not there in .*first and of shape"):
        merged(tmp_path / "out", first, deep)
    with pytest.raises(ModelError, match=r"lm_head.weight is of shape .* and not there in"):
        merged(tmp_path / "out", first, model(tmp_path / "tied", 1, tied=True))
    assert not (tmp_path / "out").exists()


def test_a_merge_that_overflows_names_the_weight(tmp_path: Path) -> None:
    source, base = model(tmp_path / "1", 1), model(tmp_path / "2", 2)
    with pytest.raises(ModelError, match=r"merged weights must be finite; lm_head.weight is not"):
        merged(tmp_path / "out", source, base=base, method="task_arithmetic", scale=3e38, weights=(1e30,))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "must be a whole"),
        (lambda folder: (folder / "model.safetensors").unlink(), "must hold weights as"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "must be a JSON object; found a list"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), "must map the names of weights"),
    ],
)
def test_a_directory_that_is_no_model_is_refused_by_name(tmp_path: Path, break_it: Any, words: str) -> None:
    whole, broken = model(tmp_path / "whole", 1), model(tmp_path / "broken", 1)
    break_it(broken)
    with pytest.raises(ModelError, match=f"broken.*{words}"):
        merged(tmp_path / "out", whole, broken)
    assert not (tmp_path / "out").exists()
