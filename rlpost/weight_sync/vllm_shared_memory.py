"""A weight-transfer backend for vLLM that reads a safetensors file, from shared memory or any folder.

vLLM imports this module in its worker process when an engine names the backend; nothing else imports it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from rlpost.errors import WeightSyncError
from rlpost.weight_file import mapped_tensors, shapes_of, verified_checksum

HEAD = "lm_head.weight"
EMBEDDING_SUFFIX = "embed_tokens.weight"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class WeightFileInit(WeightTransferInitInfo):
    """Empty, because a file needs no rendezvous."""


@dataclass
class WeightFileUpdate(WeightTransferUpdateInfo):
    """The file to load; its fields are those of `rlpost.engine_records.WeightManifest`."""

    path: str
    checksum: str
    version: int


class WeightFileTransferEngine(WeightTransferEngine[WeightFileInit, WeightFileUpdate]):
    """Checks a weight file against its checksum and against the model, then loads it layer by layer.

    All checks come before the first change to the model, so a rejected file leaves the engine serving as before.
    """

    init_info_cls = WeightFileInit
    update_info_cls = WeightFileUpdate
    loaded_checksum = ""
    """Checksum of the last loaded file, computed from the bytes that this process read."""

    def init_transfer_engine(self, init_info: WeightFileInit) -> None:
        """Read the names and shapes of the model's tensors from the directory that the engine started from.

        Raises:
            ModelError: the directory has no safetensors file.
        """
        del init_info
        # At every update vLLM warns about tables that no weight file holds (rotary embeddings); this class checks names
        # itself.
        logging.getLogger(initialize_layerwise_reload.__module__).setLevel(logging.ERROR)
        self._expected = shapes_of(Path(self.model_config.model))

    def start_weight_update(self) -> None:
        """Do nothing yet: the model is opened for loading only after the file has passed its checks."""

    def receive_weights(self, update_info: WeightFileUpdate) -> None:
        """Check the file and load it.

        Raises:
            WeightSyncError: the file is missing, modified, or of another model; the model is unchanged.
            ModelError: a tensor has a type that no learner writes; the model is unchanged.
        """
        checksum = verified_checksum(Path(update_info.path), expected=update_info.checksum, version=update_info.version)
        names = self._names_to_load(update_info)
        tensors = mapped_tensors(Path(update_info.path))
        initialize_layerwise_reload(self.model)
        # vLLM keeps tied weights twice on CPU (the head's are repacked), so the head is sent even if the model
        # directory does not name it; otherwise the engine would keep sampling with the old head.
        cast(Any, self.model).load_weights((name, tensors[name_in_file]) for name, name_in_file in names.items())
        self.loaded_checksum = checksum

    def finish_weight_update(self) -> None:
        """Convert the loaded weights into the layout that the kernels read."""
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Do nothing, since nothing is held between updates."""

    def _names_to_load(self, update: WeightFileUpdate) -> dict[str, str]:
        """Return name in the model -> name in the file, for every tensor to load."""
        try:
            found = shapes_of(Path(update.path))
        except SafetensorError as error:
            raise WeightSyncError(
                f"weights {update.version} must be a safetensors file; {update.path} is not readable as one ({error}): "
                "publish the weights again"
            ) from error
        names = {name: name for name in found}
        expected = dict(self._expected)
        if self.model_config.hf_text_config.tie_word_embeddings:
            names.setdefault(HEAD, _embedding_name(found, update))
            if not self._has_own_head():
                names.pop(HEAD)
            found.pop(HEAD, None)
            expected.pop(HEAD, None)
        if found != expected:
            raise WeightSyncError(
                f"weights {update.version} in {update.path} must have the tensors of the model in "
                f"{self.model_config.model}; {_differences(found, expected)}: "
                "write them under the names of the Hugging Face model"
            )
        return names

    def _has_own_head(self) -> bool:
        """Whether vLLM's model has an output head; some families, such as Gemma 2, read the embedding itself."""
        modules = cast(Any, self.model).named_modules(remove_duplicate=False)
        return any(name == HEAD.removesuffix(".weight") for name, _ in modules)


def _embedding_name(found: Shapes, update: WeightFileUpdate) -> str:
    """Return the name of the tensor to load as the head of a tied model: the head itself, or the input embedding."""
    if HEAD in found:
        return HEAD
    candidates = [name for name in found if name.endswith(EMBEDDING_SUFFIX)]
    if len(candidates) != 1:
        raise WeightSyncError(
            f"weights {update.version} of a model with tied embeddings must name {HEAD} or one *{EMBEDDING_SUFFIX}; "
            f"found {candidates} in {update.path}: write {HEAD} into the file"
        )
    return candidates[0]


def _differences(found: Shapes, expected: Shapes) -> str:
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    reshaped = [
        f"{name} {expected[name]} -> {found[name]}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{len(names)} {what}, for example {names[0]}" for what, names in lists.items() if names)
