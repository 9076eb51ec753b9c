"""Finds texts that nearly repeat an earlier one, by MinHash (Broder, 1997) and a comparison of what it proposes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import xxhash

from rlpost.data.optional_library import required_library

_PERMUTATIONS = 128
_SEED = 1


class NearDuplicate(NamedTuple):
    """A text that nearly repeats an earlier one."""

    place: int
    earlier: int
    similarity: float
    """Jaccard similarity of their sets of shingles."""


def near_duplicates(texts: Iterable[Sequence[str]], *, shingle_size: int, threshold: float) -> list[NearDuplicate]:
    """Return the texts whose similarity to an earlier text, which is not a duplicate itself, reaches the threshold.

    MinHash proposes candidates, and their shingles are compared, so nothing is reported that is less similar. It may
    miss a pair that is only just similar enough.

    Args:
        texts: The words of each text.
        shingle_size: Number of words of a shingle. A shorter text is one shingle.
        threshold: Least Jaccard similarity of the sets of shingles.

    Raises:
        DataError: datasketch is not installed.
    """
    sketch = required_library("datasketch", purpose="a search for near-duplicates")
    # Candidates below the threshold are dropped afterwards, so that those just above it are rarely missed.
    index: Any = sketch.MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=_PERMUTATIONS)
    kept: dict[int, frozenset[int]] = {}
    found: list[NearDuplicate] = []
    for place, words in enumerate(texts):
        shingles = _shingles(words, size=shingle_size)
        signature: Any = sketch.MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)
        signature.update_batch(shingles)
        candidates: list[int] = sorted(index.query(signature))
        similar = [(_jaccard(shingles, kept[other]), other) for other in candidates]
        best = max(similar, default=(0.0, -1), key=lambda one: (one[0], -one[1]))
        if best[0] >= threshold:
            found.append(NearDuplicate(place, best[1], best[0]))
        else:
            index.insert(place, signature)
            kept[place] = shingles
    return found


def _shingles(words: Sequence[str], *, size: int) -> frozenset[int]:
    spans = [words[start : start + size] for start in range(max(1, len(words) - size + 1))]
    return frozenset(xxhash.xxh32_intdigest("\x00".join(span).encode()) for span in spans)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)
