"""A cache of verdicts: the samples of a GRPO group often hold identical answers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import xxhash

from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.calls import calls_of


class VerdictCache:
    """A bounded cache that evicts the oldest entry. It holds scores only, because a fault may not occur again."""

    def __init__(self, *, entries: int) -> None:
        self._entries = entries
        self._verdicts: dict[bytes, Verdict] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, key: bytes | None) -> Verdict | None:
        """Return the cached verdict, with 0 milliseconds, or None. The key None stands for a sample that is never
        cached.
        """
        if key is None:
            return None
        with self._lock:
            verdict = self._verdicts.get(key)
        return None if verdict is None else replace(verdict, milliseconds=0.0)

    def put(self, key: bytes | None, verdict: Verdict) -> None:
        """Cache the verdict if it is a score."""
        if key is None or verdict.fault is not None:
            return
        with self._lock:
            if len(self._verdicts) >= self._entries and key not in self._verdicts:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[key] = verdict


def cache_keys(verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any]) -> list[bytes | None]:
    """Return a digest per sample of everything that its verdict may depend on; None if the verifier is not
    deterministic.

    The digest covers everything except the sample's id, group and step; for a verifier of groups it covers the whole
    group in its order.
    """
    if not verifier.spec.deterministic:
        return [None] * len(samples)
    own = [cache_key(verifier, sample, params=params) for sample in samples]
    if verifier.spec.per != "group":
        return list[bytes | None](own)
    keys: dict[int, bytes] = {}
    for places in calls_of(verifier.spec, samples, most=len(samples)):
        group = b"".join(own[place] for place in places)
        keys.update(
            {place: xxhash.xxh3_128_digest(group + bytes([0]) + str(at).encode()) for at, place in enumerate(places)}
        )
    return [keys[place] for place in range(len(samples))]


def cache_key(verifier: Verifier, sample: Sample, *, params: Mapping[str, Any]) -> bytes:
    """Return a digest of the verifier, the parameters, and everything in the sample except its id, group and step."""
    content = (verifier.reference, verifier.spec.version, dict(params), replace(sample, id="", group="", step=None))
    return xxhash.xxh3_128_digest(pickle.dumps(content))
