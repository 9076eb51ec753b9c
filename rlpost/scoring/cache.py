"""Verdicts that were given before: GRPO groups hold many identical answers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import xxhash

from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Verifier


class VerdictCache:
    """Bounded; the oldest entry makes room. Holds scores only, because a fault may not happen again."""

    def __init__(self, *, entries: int) -> None:
        self._entries = entries
        self._verdicts: dict[bytes, Verdict] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, key: bytes) -> Verdict | None:
        """The verdict, with 0 milliseconds, or None."""
        with self._lock:
            verdict = self._verdicts.get(key)
        return None if verdict is None else replace(verdict, milliseconds=0.0)

    def put(self, key: bytes, verdict: Verdict) -> None:
        """Keep a verdict if it is a score."""
        if verdict.fault is not None:
            return
        with self._lock:
            if len(self._verdicts) >= self._entries:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[key] = verdict


def cache_key(verifier: Verifier, sample: Sample, *, params: Mapping[str, Any]) -> bytes:
    """Digest of all that a verdict may depend on: everything but the sample's id."""
    content = (verifier.reference, verifier.spec.version, dict(params), replace(sample, id=""))
    return xxhash.xxh3_128_digest(pickle.dumps(content))
