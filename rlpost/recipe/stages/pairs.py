"""Stages that learn from preference pairs: DPO and reward models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, model_validator

from rlpost.recipe.columns import Use
from rlpost.recipe.number_words import count
from rlpost.recipe.problems import Problem
from rlpost.recipe.reward_model import PAIR_ACCURACY, held_out_pair_count
from rlpost.recipe.sections import MOST_PER_STEP, PerStep, SamplingConfig, Section
from rlpost.recipe.stages.stage import Parent, Product, SampledResponses
from rlpost.recipe.stages.supervised import SupervisedStage


class OwnSamplesConfig(Section):
    """Preference pairs from the model's own answers, judged by the recipe's verifiers (TULU 3, section 5)."""

    samples_per_prompt: int = Field(ge=2, le=MOST_PER_STEP)
    sampling: SamplingConfig
    prompts: int | None = Field(default=None, ge=1)
    """Number of prompts to answer; by default all rows of the stage's data."""
    pairs_per_prompt: PerStep = 1


class PairStage(SupervisedStage):
    """A stage that trains on pairs of a chosen and a rejected answer; `rows_per_step` counts pairs."""

    row_word: ClassVar[Literal["row", "pair"]] = "pair"
    sequences_per_row: ClassVar[int] = 2

    own_samples: OwnSamplesConfig | None = None
    """Settings for own samples; without them, the rows must hold `response` and `rejected`."""

    @property
    def data_use(self) -> Use:
        """See `Stage`."""
        return "pairs" if self.own_samples is None else "judging"

    @property
    def judges(self) -> bool:
        """See `Stage`."""
        return self.own_samples is not None

    @property
    def samples_responses(self) -> SampledResponses | None:
        """See `Stage`."""
        own = self.own_samples
        return None if own is None else SampledResponses(("own_samples", "sampling"), own.sampling)

    def pairs_made(self, data_rows: int | None) -> int | None:
        """Return the largest possible number of pairs; None if it depends on the data."""
        if self.own_samples is None:
            return data_rows
        prompts = self.own_samples.prompts or data_rows
        return None if prompts is None else prompts * self.own_samples.pairs_per_prompt

    def rows_trained_on(self, data_rows: int | None) -> int | None:
        """See `SupervisedStage`."""
        return self.pairs_made(data_rows)

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        own = self.own_samples
        if own is not None:
            prompts = own.prompts or data_rows
            if prompts is None:
                yield f"{own.samples_per_prompt} samples for every row of {', '.join(self.data)}"
            else:
                yield (
                    f"{prompts:,} prompts x {own.samples_per_prompt:,} samples = "
                    f"{prompts * own.samples_per_prompt:,} responses, from which at most "
                    f"{prompts * own.pairs_per_prompt:,} pairs are made"
                )
        yield from self._held_out_words(data_rows)
        yield from super().words(data_rows)

    def _held_out_words(self, data_rows: int | None) -> Iterator[str]:
        yield from ()


class DpoStage(PairStage):
    """Direct preference optimisation with the stage's own start as the frozen reference.

    `rows_per_step` counts pairs.
    """

    kind: Literal["dpo"]
    beta: float = Field(default=5.0, gt=0)
    """Strength of the pull towards the reference; by default 5 for `sigmoid_norm`, as in TULU 3, and 0.1 for `sigmoid`,
    as in the paper on DPO (arXiv 2305.18290, appendix B)."""
    loss: Literal["sigmoid", "sigmoid_norm"] = "sigmoid_norm"
    """Plain DPO, or length-normalised DPO (TULU 3, equation 6)."""

    @model_validator(mode="before")
    @classmethod
    def _usual_beta(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        keys = cast("dict[str, Any]", written)
        return {"beta": 0.1, **keys} if keys.get("loss") == "sigmoid" else keys


class RewardModelStage(PairStage):
    """A scorer of responses, trained on preference pairs (Bradley-Terry); a side artifact, not the next policy.

    `rows_per_step` counts pairs. The next stage continues from the language model before this stage.
    """

    produces: ClassVar[Product] = "reward_model"
    own_scores: ClassVar[tuple[str, ...]] = (PAIR_ACCURACY,)
    head: ClassVar[Literal["language_model", "score"]] = "score"

    kind: Literal["reward_model"]

    @property
    def parents(self) -> tuple[Parent, ...]:
        """See `Stage`. A reward model can be trained further."""
        return tuple(
            parent._replace(accepts=frozenset({"language_model", "reward_model"})) for parent in super().parents
        )

    def rows_trained_on(self, data_rows: int | None) -> int | None:
        """See `SupervisedStage`. Some pairs are held out from training, for the stage's own score."""
        pairs = self.pairs_made(data_rows)
        return None if pairs is None else max(1, pairs - held_out_pair_count(pairs))

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        if self.start is not None and earlier.get(self.start) == "reward_model" and self.own_samples is not None:
            yield Problem(
                path=("own_samples",),
                text=f"a stage that starts from a reward model ({self.start}) has no language model to sample from: "
                "give pairs in the data and remove own_samples, or start from a language model",
            )
        yield from super().contradictions(earlier=earlier, deterministic=deterministic)
        if self.lora is not None:
            yield Problem(path=("lora",), text="a reward model is trained whole, with its score head: remove lora")

    def _held_out_words(self, data_rows: int | None) -> Iterator[str]:
        pairs = self.pairs_made(data_rows)
        held_out = "a tenth of the pairs, at most 512," if pairs is None else count(held_out_pair_count(pairs), "pair")
        yield f"{held_out} kept out of training; the stage's score is {PAIR_ACCURACY} on them"
