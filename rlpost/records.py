"""Every record that crosses a seam: who makes it, who takes it, and what each field means.

Flow of an RL stage: `Prompt -> RolloutGroup -> Verdict -> TrainRow -> TrainBatch -> StepReport`.

Shape suffixes, used in names of arrays and of ragged lists throughout the project:

    P  prompts of one step          G  samples of one group (same prompt)
    B  rows of a batch              T  tokens (of one row, or of all rows end to end)
    V  vocabulary

All records are frozen. Arrays inside them are numpy (never torch) so that records can be made, shipped and read without
torch, and they are to be treated as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation. Example: `Message(role="user", content="12 + 34 = ?")`."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    r"""One row of a data set. Made by `data.sources`; taken by every stage's data preparation.

    Example: `Example(id="arithmetic/17", dataset="arithmetic", messages=(Message(role="user", content="12 + 34 ="),),
    response="2+4=6;1+3+0=4;\\boxed{46}", gold="46")`.
    """

    id: str
    """Unique over all data sets of a recipe: `<data set>/<row>`."""
    dataset: str
    """The name that the recipe gives to the data set."""
    messages: tuple[Message, ...] = ()
    """The prompt, up to and including the last user turn; empty for raw text."""
    response: str | None = None
    """A demonstration of the answer (SFT), or the preferred one of a pair (DPO)."""
    rejected: str | None = None
    """The answer that was not preferred (DPO on given pairs)."""
    gold: Any = None
    """What the verifier compares with, as plain data."""
    text: str | None = None
    """A raw document (CPT)."""
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Every other column of the row, as plain data; verifiers and routing read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A rendered prompt. Made by `data.chat`; taken by the generator and, for gold and meta, by the scorer."""

    id: str
    dataset: str
    messages: tuple[Message, ...]
    token_ids: IntArray
    """Rendered with the chat template and the generation prompt; shape [T]."""
    gold: Any
    meta: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to sample one response; every value is explicit, defaults live in the recipe only."""

    temperature: float
    """0 is greedy."""
    top_p: float
    top_k: int
    """0 keeps the whole vocabulary."""
    max_tokens: int
    stop_token_ids: tuple[int, ...]
    """Sampling one of these ends the response; it is kept as the last token of the rollout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """One response to generate. Made by the collector; taken by a generator.

    `key` comes back on the rollout. Equal (prompt, seed, sampling, weights) give equal tokens wherever they run.
    """

    key: tuple[str, int]
    """(prompt id, sample index); unique among the requests in flight."""
    prompt_token_ids: IntArray
    sampling: Sampling
    seed: int
    urgent: bool = False
    """Goes before all that waits for an engine: training stands still until it is answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSpan:
    """Tokens `[start, stop)` of a rollout were sampled with weights `version`."""

    start: int
    stop: int
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One sampled response. Made by a generator; taken by the collector.

    Example: tokens "46<eos>" sampled with version 3: `token_ids=[52, 54, 2]`, `logprobs_T=[-0.1, -0.2, -0.0]`,
    `version_spans=(VersionSpan(start=0, stop=3, version=3),)`, `finish="stop"`.
    """

    key: tuple[str, int]
    token_ids: IntArray
    """The response only, with its stop token if it ended by one; shape [T]."""
    logprobs_T: FloatArray
    """Log-probability of each sampled token, after temperature; shape [T]."""
    version_spans: tuple[VersionSpan, ...]
    """In order, without gaps, covering all tokens."""
    finish: FinishReason
    text: str
    """Decoded without special tokens."""
    seconds: float
    """From submission to the last token, on the generator's clock."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any of the tokens."""
        return min(span.version for span in self.version_spans)


class Fault(StrEnum):
    """Who caused a verdict without a score."""

    POLICY = "policy"
    """The model's own text timed out or crashed the verifier: the runtime substitutes the floor score."""
    GOLD = "gold"
    """The reference cannot be read: the row is quarantined and its group dropped."""
    INFRA = "infra"
    """A judge or sandbox was not there: retried, then masked from the loss and from the baseline."""


PERMANENT = "permanent"
"""Tag of an infra fault that will not pass by itself, such as a missing library: nobody waits for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    r"""Everything a verifier may see: plain data, picklable. Made by the collector; taken by the scorer.

    Example: `Sample(id="arithmetic/17#0", prompt="12 + 34 =", response="... \\boxed{46}", gold="46")`.
    """

    id: str
    prompt: str
    """The last user turn."""
    response: str
    gold: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dataset: str = ""
    finish: FinishReason = "stop"
    token_count: int = 0
    group: str = ""
    """Equal for all responses to one prompt of one step; group verifiers judge these together."""
    step: int = 0
    """Of the stage, when the prompt was issued; weights that change over a stage are taken at it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A score or a typed fault, never both and never neither. Made by a verifier; taken by advantage and filters.

    Example: `Verdict(score=1.0, parsed="46", reason="equal")`, `Verdict(fault=Fault.GOLD, reason="gold is empty")`.
    """

    score: float | None = None
    fault: Fault | None = None
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """Named components of the score, for logs and for normalisation per part."""
    parsed: str | None = None
    """The answer that the verifier read out of the response."""
    reason: str = ""
    tags: tuple[str, ...] = ()
    version: str = ""
    """Name and version of the verifier, filled in by the runtime."""
    milliseconds: float = 0.0

    def __post_init__(self) -> None:
        if (self.score is None) == (self.fault is None) and self.fault is not Fault.POLICY:
            raise ValueError(
                f"a verdict has a score or a fault; found score={self.score!r} and fault={self.fault!r}; "
                "only a policy fault carries the floor score beside it"
            )
        if self.score is not None and not np.isfinite(self.score):
            raise ValueError(f"a score must be finite; found {self.score!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """All samples of one prompt. Made by the collector; taken from the buffer by the stage."""

    prompt: Prompt
    index: int
    """Position in the order of issue, counted from the start of the stage; what is left after sorting by it is
    independent of which actor answered first."""
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...] = ()
    """One for each rollout, in the same order; empty until scored."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any token of the group."""
        return min(rollout.oldest_version for rollout in self.rollouts)


TOKEN_COLUMNS = (
    "advantages_T",
    "behaviour_logprobs_T",
    "reference_logprobs_T",
    "proximal_logprobs_T",
    "proximal_mix_T",
    "returns_T",
    "old_values_T",
)
"""The columns of a row that it may lack; a batch has zeros in their place. `LossInputs` has the same names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRow:
    """One token sequence to learn from. Made by a stage; taken by `TrainBatch.of`.

    All arrays have shape [T] and speak of the token at their own index: `weights_T[t]` is the loss weight of predicting
    token t from the tokens before it, so `weights_T[0]` must be 0.
    """

    token_ids: IntArray
    weights_T: FloatArray
    advantages_T: FloatArray | None = None
    behaviour_logprobs_T: FloatArray | None = None
    """Under the policy that sampled the token, as the generator reported it."""
    reference_logprobs_T: FloatArray | None = None
    proximal_logprobs_T: FloatArray | None = None
    """Under the policy as it was before the first optimizer step on this rollout batch."""
    proximal_mix_T: FloatArray | None = None
    """Share of the current policy in the log-linear estimate of the proximal one: 1 is the current policy itself."""
    returns_T: FloatArray | None = None
    """What a critic should have predicted for the token."""
    old_values_T: FloatArray | None = None
    """What the critic predicted before the first optimizer step on this rollout batch."""
    source: str = ""
    """Which row of the data, or which sample of which prompt, it is; for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBatch:
    """The rows of one optimizer step, end to end. Made by a stage; taken whole by every learner rank.

    The gradient is that of (sum of the loss over all rows) / `denominator`, however the rows are split over ranks and
    micro-batches.
    """

    token_ids: IntArray
    """All rows end to end; shape [sum of T]."""
    row_lengths_B: IntArray
    weights_T: FloatArray
    advantages_T: FloatArray
    behaviour_logprobs_T: FloatArray
    reference_logprobs_T: FloatArray
    proximal_logprobs_T: FloatArray
    proximal_mix_T: FloatArray
    returns_T: FloatArray
    old_values_T: FloatArray
    denominator: float
    """The one global count that the summed loss is divided by."""
    temperature: float
    """Logits are divided by this before log-probabilities are taken; 1 where nothing was sampled."""
    rows_per_unit: int
    """Rows that must stay together in one micro-batch: 1, or 2 for preference pairs (chosen, rejected)."""
    sources: tuple[str, ...] = ()
    """Where each row comes from, for people; shape [B]."""

    @classmethod
    def of(
        cls, rows: Sequence[TrainRow], *, denominator: float, temperature: float = 1.0, rows_per_unit: int = 1
    ) -> TrainBatch:
        """Join rows into one batch; columns that a row does not have become zeros."""
        assert rows, "a batch needs at least one row"
        assert len(rows) % rows_per_unit == 0, f"{len(rows)} rows do not split into units of {rows_per_unit}"
        assert denominator > 0, f"the denominator must be positive, found {denominator}"
        for row in rows:
            assert row.weights_T[0] == 0, "the first token of a row has nothing before it to be predicted from"
            assert len(row.weights_T) == len(row.token_ids), "a row's weights and tokens must have one length"

        def column(name: str) -> FloatArray:
            parts: list[FloatArray] = []
            for row in rows:
                values = getattr(row, name)
                parts.append(np.zeros(len(row.token_ids), np.float32) if values is None else values)
                assert len(parts[-1]) == len(row.token_ids), f"{name} and tokens must have one length"
            return np.concatenate(parts).astype(np.float32, copy=False)

        return cls(
            token_ids=np.concatenate([row.token_ids for row in rows]).astype(np.int32, copy=False),
            row_lengths_B=np.array([len(row.token_ids) for row in rows], np.int32),
            weights_T=column("weights_T"),
            **{name: column(name) for name in TOKEN_COLUMNS},
            denominator=denominator,
            temperature=temperature,
            rows_per_unit=rows_per_unit,
            sources=tuple(row.source for row in rows),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What one optimizer step did, reduced over all ranks. Made by the learner; taken by the tracker."""

    step: int
    """Optimizer steps taken so far in this stage, this one included."""
    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    tokens: int
    """Tokens run through the model, prompts included."""
    scored_tokens: int
    """Tokens with a loss weight other than 0."""
    seconds: float
    """Inside the learner, without transport."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the loss function reports, for example `kl` or `clip_fraction`."""
