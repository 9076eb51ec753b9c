"""Reads a checkpoint without running code from it; torch's own reader would unpickle anything."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint import metadata as formats
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.planner import ReadItem

_NAMES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch": {"Size"},
    # This function looks up a layout by its name.
    "torch.serialization": {"_get_layout"},
}
"""Module -> names that the metadata of a checkpoint may use: plain records, and nothing that runs code."""
_PATHS = {"Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}


class SafeReader(FileSystemReader):
    """Reads the metadata of a checkpoint (`.metadata`, a pickle) with a list of allowed names.

    torch itself reads the tensors with `weights_only`.
    """

    def read_metadata(self, *args: Any, **kwargs: Any) -> formats.Metadata:
        """See `FileSystemReader`.

        Raises:
            pickle.UnpicklingError: the metadata uses a name that is not allowed.
        """
        path = self._get_metadata_path(kwargs.get("rank"))
        with self.fs.create_stream(path, "rb") as stream:
            described = _PlainUnpickler(stream).load()
        if not isinstance(described, formats.Metadata):
            raise pickle.UnpicklingError(f"{path} must describe a checkpoint; found {type(described).__name__}")
        described.storage_meta = formats.StorageMeta(load_id=self.load_id)
        return described


class SafePlanner(DefaultLoadPlanner):
    """Reads entries that are not tensors, such as an optimizer's coefficients, with `weights_only`, which runs no
    code.
    """

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """See `DefaultLoadPlanner`; the key exists in the state dict, because a learner loads into its own state."""
        *path, last = self.mappings[read_item.dest_index.fqn]
        place: Any = self.original_state_dict
        for key in path:
            place = place[key]
        place[last] = torch.load(value, weights_only=True)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "torch" and isinstance(found := getattr(torch, global_name, None), torch.dtype):
            return found
        if module_name in ("pathlib", "pathlib._local") and global_name in _PATHS:
            return _as_text
        if global_name in _NAMES.get(module_name, ()):
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(
            f"the description of a checkpoint must be plain records; it names {module_name}.{global_name}"
        )


def _as_text(*parts: object) -> str:
    """Replace a path by its text, because nothing here uses it."""
    return "/".join(str(part) for part in parts)
