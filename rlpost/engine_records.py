"""Records about weights and engines: what was published, who serves it, how busy each engine is.

Flow: `WeightManifest -> WeightReceipt -> PublishReport`; `EngineLoad` comes with every answer of an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightManifest:
    """One published version of the weights. Made by the learner; pulled by generators."""

    version: int
    path: str
    """What every puller of this node can read: a safetensors file of the whole model, or a folder with an adapter."""
    checksum: str
    """xxh3-128 of the file's bytes, in hex; of an adapter, of its adapter_model.safetensors."""
    tensor_count: int
    byte_count: int
    kind: Literal["full", "adapter"] = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightReceipt:
    """A generator's acknowledgement that it serves these weights. Made by a generator; checked by the publisher."""

    generator: str
    version: int
    checksum: str
    """Of the bytes that the generator read, computed by the generator."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLoad:
    """What one engine says about itself, when it was last heard. Made by a generator; taken for routing and metrics."""

    generator: str
    limit: int
    """Responses that it wants to work on at a time, from KV cache use and preemptions."""
    running: int
    waiting: int
    kv_cache_use: float
    """Share of the KV cache in use, 0 to 1."""
    preemptions: int
    """Responses put back for want of KV cache, since the engine started."""
    tokens: int
    """Tokens sampled since the engine started."""
    busy_s: float
    """Seconds spent in steps since the engine started."""
    version: int
    """Weights that it serves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishReport:
    """What one weight sync cost, end to end. Made by the weight store; taken by the tracker."""

    version: int
    byte_count: int
    write_seconds: float
    pull_seconds: float
    receipts: tuple[WeightReceipt, ...]

    @property
    def seconds(self) -> float:
        """Publishing and pulling together."""
        return self.write_seconds + self.pull_seconds
