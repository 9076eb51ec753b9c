"""Reads the names and shapes of a model directory's weights from the headers of its files; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from rlpost.errors import ModelError
from rlpost.recipe.paths import exists
from rlpost.recipe.sections import ModelConfig

Layout = Mapping[str, tuple[int, ...]]
"""Name of a weight -> its shape; without a tied output head, which repeats the embedding."""

_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_HEAD = "lm_head.weight"
_REAL_TYPES = ("F64", "F32", "F16", "BF16")
_READING = ("model_type", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "num_experts_per_tok")
"""Keys of a configuration that say how weights of one shape are read: 64 columns are 2 heads of 32, or 4 of 16."""


def weight_paths(model_dir: Path) -> list[Path]:
    """Return the files that contain the model's weights: those in the index, if there is one, because a directory may
    contain the weights again in another format.

    Raises:
        ModelError: the directory contains no such files, or one of them is no regular file, such as a pipe.
    """
    files = _files(model_dir)
    for file in files:
        if not file.is_file():
            there = "it is not a regular file" if exists(file) else "it does not exist"
            raise ModelError(f"the weights of a model must be whole *.safetensors files; {file}: {there}")
    return files


def weight_files(model_dir: Path) -> dict[str, Path]:
    """Return the file that contains each weight of the model, by the weight's name.

    Raises:
        ModelError: the directory contains no such files, broken ones, or weights that are integers or of 8 bits.
    """
    from safetensors import SafetensorError, safe_open

    files: dict[str, Path] = {}
    for file in weight_paths(model_dir):
        try:
            with safe_open(file, framework="numpy") as opened:
                names = list(opened.keys())
                types = {name: opened.get_slice(name).get_dtype() for name in names if name.endswith("weight")}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file} must be a whole *.safetensors file: {error}") from error
        quantised = [name for name, kind in types.items() if kind not in _REAL_TYPES]
        if quantised:
            raise ModelError(
                f"weights must be floating-point numbers ({', '.join(_REAL_TYPES)}) to be trained; {quantised[0]} in "
                f"{file} is {types[quantised[0]]}: give the model before it was quantised"
            )
        files.update(dict.fromkeys(names, file))
    if is_tied(model_dir):
        files.pop(_HEAD, None)
    return files


def layout(model_dir: Path) -> Layout:
    """Return the shapes of the model's weights.

    Raises:
        ModelError: the directory contains no such files, or broken ones.
    """
    from safetensors import safe_open

    files, shapes = weight_files(model_dir), dict[str, tuple[int, ...]]()
    for file in sorted(set(files.values())):
        with safe_open(file, framework="numpy") as opened:
            for name in (name for name, place in files.items() if place == file):
                shapes[name] = tuple(opened.get_slice(name).get_shape())
    return shapes


def refuse_difference(first: Path, other: Path) -> None:
    """Compare the names and shapes of the weights of two models, and how their configurations read the weights.

    Raises:
        ModelError: they differ, or one of the directories has no readable weights.
    """
    mine, theirs = layout(first), layout(other)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            raise ModelError(
                f"models can be merged if all their weights have the same names and shapes; {name} is "
                f"{_words(mine.get(name))} in {first} and {_words(theirs.get(name))} in {other}: merge models that "
                "were trained from one base"
            )
    mine, theirs = _reading(first), _reading(other)
    for key in mine:
        if key in theirs and mine[key] != theirs[key]:
            raise ModelError(
                f"models can be merged if they read their weights in the same way; {key} is {mine[key]!r} in {first} "
                f"and {theirs[key]!r} in {other}: merge models that were trained from one base"
            )


def _reading(model_dir: Path) -> dict[str, Any]:
    """Return the keys of `_READING` that the configuration sets, and the base of its rotary positions."""
    config = model_config(model_dir)
    rotary: Any = config.get("rope_parameters")
    base = rotary.get("rope_theta") if isinstance(rotary, dict) else config.get("rope_theta")
    values = {**{key: config.get(key) for key in _READING}, "rope_theta": base}
    return {key: value for key, value in values.items() if value is not None}


def model_config(model_dir: Path) -> dict[str, Any]:
    """Read the config.json of a model directory.

    Raises:
        ModelError: the file does not exist, or is not a JSON object.
    """
    file = model_dir / "config.json"
    try:
        content: Any = json.loads(_content(file))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} must be the JSON configuration of a model: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} must be a JSON object; found a {type(content).__name__}")
    return cast("dict[str, Any]", content)


def _content(file: Path) -> bytes:
    if exists(file) and not file.is_file():
        raise OSError("it is not a regular file")  # Reading a pipe would wait for ever.
    return file.read_bytes()


def config_of(model: ModelConfig) -> Mapping[str, Any]:
    """Return the configuration of the recipe's model, as far as the recipe or the disk has it; empty if neither has."""
    if model.config is not None:
        return model.config
    try:
        return model_config(Path(model.path or ""))
    except ModelError:
        return {}  # A hub name, or a directory that another check reports.


def is_tied(model_dir: Path) -> bool:
    """Whether the output head is the embedding matrix."""
    return bool(model_config(model_dir).get("tie_word_embeddings", False))


def _files(model_dir: Path) -> list[Path]:
    index = model_dir / _INDEX
    if index.is_file():
        try:
            named = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{index} must map the names of weights to files: {error!r}") from error
        return [model_dir / Path(name).name for name in named]
    whole = model_dir / _WHOLE
    files = [whole] if whole.is_file() else sorted(model_dir.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{model_dir} must hold weights as *.safetensors; it has none: convert the model first")
    return files


def _words(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else f"of shape {list(shape)}"
