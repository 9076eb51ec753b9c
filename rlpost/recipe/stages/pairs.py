"""Stages that learn from preference pairs: DPO and reward models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rlpost.recipe.columns import Use
from rlpost.recipe.number_words import count
from rlpost.recipe.preference_losses import PAIR_LOSSES, PairLoss, PairLossFacts
from rlpost.recipe.problems import Problem
from rlpost.recipe.reward_model import ABOVE_CHANCE, PAIR_ACCURACY, held_out_pair_count
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
        return self.pairs_made(data_rows) if self.sampler.keeps_row_count else None

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
    """Preference optimisation: DPO and its relatives, with the stage's own start as the frozen reference.

    `rows_per_step` counts pairs.
    """

    kind: Literal["dpo"]
    loss: PairLoss = "sigmoid_norm"
    """Length-normalised DPO as in TULU 3, or another loss of `recipe/preference_losses.py`; docs/objectives.md compares
    them."""
    beta: float | None = Field(default=None, gt=0)
    """Strength of the pull towards the reference, or scale of the scores; by default that of the loss's own paper, for
    example 5 for `sigmoid_norm`, 0.1 for `sigmoid` and 2 for `simpo`."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Assumed share of pairs whose sides are swapped, for `sigmoid`, `sigmoid_norm` and `robust`."""
    margin: float | None = Field(default=None, ge=0)
    """The score by which the chosen answer should lead, for `simpo`; by default 1."""
    nll_weight: float | None = Field(default=None, ge=0)
    """Weight of the chosen answer's mean cross-entropy a token, beside the loss; by default 1 for `orpo`, whose
    definition contains it, and 0 for the others."""

    @property
    def facts(self) -> PairLossFacts:
        """The facts about its loss."""
        return PAIR_LOSSES[self.loss]

    @property
    def settings_of_loss(self) -> Mapping[str, float]:
        """The numbers of the loss, with its own defaults."""
        facts = self.facts
        return {
            "beta": facts.beta if self.beta is None else self.beta,
            "label_smoothing": self.label_smoothing,
            "margin": 0.0 if not facts.takes_margin else 1.0 if self.margin is None else self.margin,
            "nll_weight": facts.nll_weight if self.nll_weight is None else self.nll_weight,
        }

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        yield from super().contradictions(earlier=earlier, deterministic=deterministic)
        for key, is_set, is_read in (
            ("label_smoothing", self.label_smoothing > 0, self.facts.takes_smoothing),
            ("margin", self.margin is not None, self.facts.takes_margin),
        ):
            if is_set and not is_read:
                text = f"the loss {self.loss} does not read {key}: remove it, or choose another loss"
                yield Problem(path=(key,), text=text)

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        values = ", ".join(f"{name} {value:g}" for name, value in self.settings_of_loss.items() if value)
        reference = "with the start as reference" if self.facts.has_reference else "without a reference"
        yield f"{self.facts.words}, {values}, {reference}"
        yield from super().words(data_rows)


class RewardModelStage(PairStage):
    """A scorer of responses, trained on preference pairs (Bradley-Terry); a side artifact, not the next policy.

    `rows_per_step` counts pairs. The next stage continues from the language model before this stage.
    """

    produces: ClassVar[Product] = "reward_model"
    own_scores: ClassVar[tuple[str, ...]] = (PAIR_ACCURACY, ABOVE_CHANCE)
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
        pairs = self.pairs_made(data_rows) if self.sampler.keeps_row_count else None
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
        yield f"{held_out} kept out of training; the stage's scores are {PAIR_ACCURACY} and {ABOVE_CHANCE} on them"
