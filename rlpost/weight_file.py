"""The file format of weights on their way from a learner to generators: safetensors, with an xxh3-128 of its bytes.

Learner and generators both import this module, so that neither imports the other.
"""

from __future__ import annotations

import json
import mmap
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from rlpost.engine_records import WeightManifest
from rlpost.errors import DamagedWeightsError, ModelError
from rlpost.recipe.model_layout import weight_paths

if TYPE_CHECKING:
    from torch import Tensor

MODEL_FILE = "model.safetensors"
"""Name of the weights in a Hugging Face model directory that is not split into shards."""
ADAPTER_FILE = "adapter_model.safetensors"
"""Name of the weights in a folder that peft loads as an adapter."""
_LENGTH_BYTES = 8
"""Number of bytes at the head of a safetensors file that hold the size of the JSON header that follows."""


def write_weight_file(state: Mapping[str, Tensor], path: Path, *, version: int) -> WeightManifest:
    """Write `state` (name -> tensor, any device) to `path` and return a manifest of it.

    Tied tensors (for example `lm_head.weight`) are written under each of their names: a vLLM engine that is not sent
    the head by name keeps sampling with the old head.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage().data_ptr()
        # safetensors refuses two names for one storage, because a reader could not tell which of them is meant.
        tensors[name] = plain.clone() if storage in storages else plain
        storages.add(storage)
    save_file(tensors, path, metadata={"format": "pt"})
    return _manifest(path, version=version)


def follow_umask(files: Iterable[Path], *, beside: Path) -> None:
    """Give weight files the permissions of a file that was written beside them, because safetensors lets only the owner
    read them.
    """
    for file in files:
        file.chmod(stat.S_IMODE(beside.stat().st_mode))


def mapped_tensors(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor of a weight file, or of the files of a model directory, as views of the mapped files,
    without a copy.

    safetensors 0.8 leaks two Python integers for every tensor that it hands to torch, so a process that repeatedly
    reads files through it would grow with each.

    Raises:
        ModelError: a tensor has a type that no learner writes.
    """
    return {name: tensor for file in _files(path) for name, tensor in _mapped_tensors(file).items()}


def _mapped_tensors(path: Path) -> dict[str, Tensor]:
    import torch

    types = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
    with path.open("rb") as opened:
        header_size = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(opened.read(header_size))
    header.pop("__metadata__", None)
    unknown = {name: entry["dtype"] for name, entry in header.items() if entry["dtype"] not in types}
    if unknown:
        raise ModelError(f"weights that travel must be of {', '.join(types)}; {path} has {unknown}: publish others")
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    data = content[_LENGTH_BYTES + header_size :]
    return {
        name: data[slice(*entry["data_offsets"])].view(types[entry["dtype"]]).view(entry["shape"])
        for name, entry in header.items()
    }


def manifest_of_model_dir(directory: Path, *, version: int) -> WeightManifest:
    """Describe the weights of a Hugging Face model directory, so that generators can load a finished artifact.

    The manifest of a model in several files names the directory.

    Raises:
        ModelError: the directory has no weights.
    """
    files = weight_paths(directory)
    return _manifest(files[0] if len(files) == 1 else directory, version=version)


def manifest_of_adapter(directory: Path, *, version: int) -> WeightManifest:
    """Describe the weights of a folder that peft loads as an adapter."""
    file = _manifest(directory / ADAPTER_FILE, version=version)
    return replace(file, path=str(directory.resolve()), kind="adapter")


def checksum_of(path: Path | str) -> str:
    """Return the xxh3-128 of a file's bytes, in hex; for a model directory, that of its weight files' checksums."""
    files = _files(Path(path))
    if len(files) > 1:
        return xxhash.xxh3_128_hexdigest("".join(map(checksum_of, files)).encode())
    [file] = files
    if file.stat().st_size == 0:
        return xxhash.xxh3_128_hexdigest(b"")  # An empty file cannot be mapped.
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return xxhash.xxh3_128_hexdigest(content)


def verified_checksum(path: Path, *, expected: str, version: int) -> str:
    """Return the checksum of a published file, if it equals the one in the manifest.

    Raises:
        DamagedWeightsError: the file is missing or modified.
    """
    if not path.exists():
        raise DamagedWeightsError(
            f"weights {version} must lie where every generator can read them; {path} does not exist here: "
            "publish into a folder that learner and generators share"
        )
    checksum = checksum_of(path)
    if checksum != expected:
        raise DamagedWeightsError(
            f"weights {version} in {path} must have the checksum {expected} that the learner published; "
            f"found {checksum}: publish them again, and let nothing else write into that folder"
        )
    return checksum


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of the tensors of a weight file, or of the files of a model directory.

    Raises:
        SafetensorError: a file is not readable as safetensors.
    """
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in _files(path):
        with safe_open(file, framework="pt") as opened:
            shapes.update({name: tuple(opened.get_slice(name).get_shape()) for name in opened.offset_keys()})
    return shapes


def _files(path: Path) -> list[Path]:
    return weight_paths(path) if path.is_dir() else [path]


def _manifest(path: Path, *, version: int) -> WeightManifest:
    return WeightManifest(
        version=version,
        path=str(path.resolve()),
        checksum=checksum_of(path),
        tensor_count=len(shapes_of(path)),
        byte_count=sum(file.stat().st_size for file in _files(path)),
    )
