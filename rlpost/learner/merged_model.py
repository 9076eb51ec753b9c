"""Writes a model directory merged from several: weights are read, merged and written one tensor at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from rlpost.errors import ModelError
from rlpost.learner.merging import Merge
from rlpost.recipe.model_layout import layout, model_config, refuse_difference, weight_files
from rlpost.settings import DTypeName
from rlpost.weight_file import MODEL_FILE

_TYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}
_GENERATION_CONFIG = "generation_config.json"
_BESIDE_WEIGHTS = (_GENERATION_CONFIG, "*.py")
_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def write_merged_model(
    directory: Path,
    *,
    sources: Sequence[Path],
    base: Path | None,
    merge: Merge,
    dtype: DTypeName,
    on_tensor: Callable[[int], None],
) -> None:
    """Write the merged model with the configuration of the first source, without a tokenizer.

    After each tensor, `on_tensor` gets the number of finished tensors.

    Raises:
        ModelError: the models differ in the names or shapes of their weights, or a merged weight is not finite.
    """
    models = [*sources] if base is None else [*sources, base]
    first, shapes = models[0], layout(models[0])
    for other in models[1:]:
        refuse_difference(first, other)
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        readers = [_Reader(model, stack) for model in models]

        def merged(name: str) -> Tensor:
            tensors = [reader.tensor(name) for reader in readers]
            task_base = None if base is None else tensors.pop()
            weight = merge.tensor(name, tensors, task_base).to(getattr(torch, dtype))
            if not torch.isfinite(weight).all():
                raise ModelError(
                    f"merged weights must be finite; {name} is not: lower the weights or the scale of the merge, and "
                    "see to its sources"
                )
            return weight

        _write(directory / MODEL_FILE, shapes, merged, dtype=getattr(torch, dtype), on_tensor=on_tensor)
    for file in (file for pattern in _BESIDE_WEIGHTS for file in first.glob(pattern)):
        shutil.copyfile(file, directory / file.name)
    config = {key: value for key, value in model_config(first).items() if key != "torch_dtype"}
    generation = directory / _GENERATION_CONFIG
    if not generation.is_file():
        # A run writes the stop tokens of its template into this file.
        special = {key: config[key] for key in _SPECIAL_IDS if config.get(key) is not None}
        generation.write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
    (directory / "config.json").write_text(json.dumps({**config, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")


class _Reader:
    """The tensors of one model, in float32."""

    def __init__(self, model_dir: Path, stack: ExitStack) -> None:
        self._files = weight_files(model_dir)
        self._opened: dict[Path, Any] = {
            file: stack.enter_context(safe_open(file, framework="pt")) for file in sorted(set(self._files.values()))
        }

    def tensor(self, name: str) -> Tensor:
        return self._opened[self._files[name]].get_tensor(name).float()


def _write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    merged: Callable[[str], Tensor],
    *,
    dtype: torch.dtype,
    on_tensor: Callable[[int], None],
) -> None:
    """Write a safetensors file without ever holding the whole model: first the header with all offsets, then the
    tensors.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + torch.Size(shapes[name]).numel() * dtype.itemsize
        header[name] = {"dtype": _TYPE_NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for done, name in enumerate(sorted(shapes), start=1):
            file.write(merged(name).contiguous().reshape(-1).view(torch.uint8).numpy().data)
            on_tensor(done)
