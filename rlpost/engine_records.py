"""Records about weights and engines: which weights were published, which engine serves them, how busy each engine is.

Flow: `WeightManifest -> WeightReceipt -> PublishReport`. An `EngineLoad` accompanies every answer of an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightManifest:
    """One published version of the weights. The learner makes it; generators pull the weights by it."""

    version: int
    path: str
    """A path that every generator of this node can read: a safetensors file of the whole model, or an adapter's
    folder."""
    checksum: str
    """xxh3-128 of the file's bytes, in hex; for an adapter, of its adapter_model.safetensors."""
    tensor_count: int
    byte_count: int
    kind: Literal["full", "adapter"] = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightReceipt:
    """A generator's acknowledgement that it serves these weights. A generator makes it; the publisher checks it."""

    generator: str
    version: int
    checksum: str
    """Checksum of the bytes that the generator read, computed by the generator."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLoad:
    """The state of one engine when it last answered. A generator makes it; routing and metrics use it."""

    generator: str
    limit: int
    """Number of responses that the engine wants to work on at once, derived from KV cache use and preemptions."""
    running: int
    waiting: int
    kv_cache_use: float
    """Share of the KV cache in use, 0 to 1."""
    preemptions: int
    """Responses preempted because the KV cache was full, since the engine started."""
    tokens: int
    """Tokens sampled since the engine started."""
    busy_s: float
    """Seconds spent in steps since the engine started."""
    version: int
    """Version of the weights that the engine serves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishReport:
    """The cost of one weight sync, end to end. The weight store makes it; the tracker logs it."""

    version: int
    byte_count: int
    write_seconds: float
    pull_seconds: float
    receipts: tuple[WeightReceipt, ...]

    @property
    def seconds(self) -> float:
        """Time to write the weights plus time to pull them."""
        return self.write_seconds + self.pull_seconds
