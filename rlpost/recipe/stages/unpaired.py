"""Stages that learn from single judged answers: KTO from labels, QRPO from rewards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rlpost.recipe.columns import Use
from rlpost.recipe.stages.supervised import SupervisedStage


class UnpairedStage(SupervisedStage):
    """A stage that trains on answers that were judged one by one, with its own start as the frozen reference."""

    beta: float = Field(gt=0)


class KtoStage(UnpairedStage):
    """Kahneman-Tversky optimisation (arXiv 2402.01306): answers with a label, desirable or not.

    Rows have the columns `prompt` and `response`, or `messages`, and `label`.
    """

    kind: Literal["kto"]
    beta: float = Field(default=0.1, gt=0)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)
    """The two weights balance unequal numbers of labels: the paper keeps weight times number of the desirable answers
    at 1 to 4/3 of that of the undesirable ones (section 4.2)."""

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "labelled"

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        yield (
            f"KTO (arXiv 2402.01306), beta {self.beta:g}, weight {self.desirable_weight:g} of desirable and "
            f"{self.undesirable_weight:g} of undesirable answers, with the start as reference"
        )
        yield from super().words(data_rows)


class QrpoStage(UnpairedStage):
    """Quantile reward policy optimisation (arXiv 2507.08068): answers with a reward, beside rewards of the start's own.

    Rows have the columns `prompt` and `response`, or `messages`, and `reward` and `reference_rewards`.
    """

    kind: Literal["qrpo"]
    beta: float = Field(default=0.1, gt=0)
    length_normalised: bool = False
    """Whether the log-ratio of an answer is divided by its number of tokens, as Apertus does (arXiv 2509.14233, section
    4), with a beta of 5."""

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "rewarded"

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        scores = "means of log-ratios over tokens" if self.length_normalised else "sums of log-ratios"
        yield f"QRPO (arXiv 2507.08068), beta {self.beta:g}, {scores}, with the start as reference"
        yield from super().words(data_rows)
