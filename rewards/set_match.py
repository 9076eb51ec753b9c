"""Compares a set of answers with a set of golds, such that naming everything is not rewarded."""

from __future__ import annotations

from typing import NamedTuple


class SetMatch(NamedTuple):
    """Precision and recall of the named answers, and the score and tags that follow."""

    precision: float
    recall: float

    @property
    def is_exact(self) -> bool:
        """Whether the answers are exactly the golds."""
        return self.precision == self.recall == 1

    @property
    def f_half(self) -> float:
        """F with beta 1/2: precision counts twice as much as recall (van Rijsbergen, Information Retrieval, ch. 7)."""
        if not self.precision or not self.recall:
            return 0.0
        return 1.25 * self.precision * self.recall / (0.25 * self.precision + self.recall)

    @property
    def parts(self) -> dict[str, float]:
        """Precision and recall as the parts of a verdict."""
        return {"precision": self.precision, "recall": self.recall}

    def tags(self, *, answers: int, golds: int) -> tuple[str, ...]:
        """Tag a set with wrong answers as `stuffed` if it has more than three answers per gold, or `hedged` if it has
        all golds.
        """
        if self.precision == 1:
            return ()
        return ("stuffed",) if answers > 3 * golds else ("hedged",) if self.recall == 1 else ()
