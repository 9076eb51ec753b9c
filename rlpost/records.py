"""Every record that crosses an interface: who makes it, who takes it, and the meaning of each field.

Flow of an RL stage: `Prompt -> Completion -> Trajectory -> Episode -> RolloutGroup -> Verdict -> TrainRow -> TrainBatch
-> StepReport`. Every other stage makes `TrainRow` from an `Example`.

Shape suffixes, used in names of arrays and of ragged lists throughout the project:

    P  prompts of one step          G  samples of one group (same prompt)
    B  rows of a batch              T  tokens (of one row, or of all rows end to end)
    V  vocabulary

All records are frozen. Their arrays are numpy (never torch), so that records can be made, sent and read without torch;
treat them as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation. Example: `Message(role="user", content="12 + 34 = ?")`."""

    role: str
    content: str | None = None
    """The text; None if the turn consists only of tool calls."""
    reasoning_content: str | None = None
    """The reasoning before the answer, which templates of reasoning models write into a separate block."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Calls in OpenAI's form: `{"id": ..., "type": "function", "function": {"name": ..., "arguments": {...}}}`."""
    tool_call_id: str | None = None
    """The call that a turn of role `tool` answers."""
    name: str | None = None
    """The tool that answers, or the person who speaks, if the template writes it."""
    train: bool | None = None
    """Whether SFT trains this turn; None leaves it to the stage's `train_on`."""

    @property
    def text(self) -> str:
        """The content, or an empty text."""
        return self.content or ""

    def as_dict(self) -> dict[str, Any]:
        """Return the turn for chat templates and reports: role, content, and the other fields that are set."""
        others = {
            "reasoning_content": self.reasoning_content,
            "tool_calls": list(self.tool_calls) or None,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
        }
        present = {key: value for key, value in others.items() if value is not None}
        return {"role": self.role, "content": self.content, **present}


def assistant_turn(text: str) -> tuple[Message, ...]:
    """Make a completion of one turn, in which the assistant answers `text`."""
    return (Message(role="assistant", content=text),)


def last_question(messages: Sequence[Message]) -> str:
    """Return the text of the last user turn; empty if there is none."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    r"""One row of a data set. `data.sources` makes it; every stage's data preparation takes it.

    Example: `Example(id="arithmetic/17", dataset="arithmetic", messages=(Message(role="user", content="12 + 34 ="),),
    completion=assistant_turn("2+4=6;1+3+0=4;\\boxed{46}"), gold="46")`.
    """

    id: str
    """Unique across all data sets of a recipe: `<data set>/<row>`."""
    dataset: str
    """The name of the data set in the recipe."""
    messages: tuple[Message, ...] = ()
    """The prompt, up to and including the last user turn; empty for raw text."""
    completion: tuple[Message, ...] = ()
    """The turns after the prompt that demonstrate the answer (SFT), or the preferred ones of a pair (DPO): one
    assistant turn, or tool calls with their results and the answer; empty if the row has none."""
    rejected: tuple[Message, ...] = ()
    """The turns that were not preferred (DPO on given pairs)."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Schemas of the tools that the chat template shows to the model."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other variables of the chat template, for example `enable_thinking`."""
    gold: Any = None
    """The reference that the verifier compares with, as plain data."""
    text: str | None = None
    """A raw document (CPT)."""
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All other columns of the row, as plain data; verifiers and routing read them."""
    source_wording: str = ""
    """The text of the last user turn before the recipe's `instruction` replaced it; empty if it did not."""

    @property
    def question(self) -> str:
        """The text of the last user turn of the prompt."""
        return last_question(self.messages)

    @property
    def response(self) -> str | None:
        """The text of the completion's last turn, which verifiers read; None if there is no completion."""
        return self.completion[-1].text if self.completion else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A rendered prompt. `data.chat` makes it; the generator takes it, and the scorer reads gold and meta."""

    id: str
    dataset: str
    messages: tuple[Message, ...]
    token_ids: IntArray
    """Tokens of the prompt, rendered with the chat template and the generation prompt; shape [T]."""
    gold: Any
    meta: Mapping[str, Any]

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return last_question(self.messages)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to sample one response; all values are explicit, and the recipe has the defaults."""

    temperature: float
    """Sampling temperature; 0 is greedy."""
    top_p: float
    top_k: int
    """Number of most likely tokens to sample from; 0 keeps the whole vocabulary."""
    max_tokens: int
    stop_token_ids: tuple[int, ...]
    """Sampling one of these ends the response; it is kept as the last token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """A request for one response. The collector makes it; a generator takes it.

    The completion carries the same `key`. Equal (prompt, seed, sampling, weights) give equal tokens on every engine.
    """

    key: tuple[str, int]
    """(prompt id, sample index); unique among the requests in flight."""
    prompt_token_ids: IntArray
    sampling: Sampling
    seed: int
    urgent: bool = False
    """Whether it overtakes all waiting requests, because training stands still until it is answered."""


class VersionSpan(NamedTuple):
    """Tokens `[start, stop)` of a completion or a trajectory were sampled with weights `version`."""

    start: int
    stop: int
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One engine's answer to one request. A generator makes it; the collector takes it.

    Example: tokens "46<eos>" sampled with version 3: `token_ids=[52, 54, 2]`, `logprobs_T=[-0.1, -0.2, -0.0]`,
    `version_spans=(VersionSpan(start=0, stop=3, version=3),)`, `finish="stop"`.
    """

    key: tuple[str, int]
    token_ids: IntArray
    """The sampled tokens only, including the stop token that ended them, if any; shape [T]."""
    logprobs_T: FloatArray
    """Log-probability of each sampled token, after temperature; shape [T]."""
    version_spans: tuple[VersionSpan, ...]
    """Spans in order, without gaps, covering all tokens."""
    finish: FinishReason
    text: str
    """The text, decoded without special tokens."""
    seconds: float
    """Time from submission to the last token, on the generator's clock."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any of the tokens."""
        return min(span.version for span in self.version_spans)


Author = Literal["system", "user", "assistant", "tool", "environment"]


class Turn(NamedTuple):
    """A span of tokens `[start, stop)` of a trajectory that `author` wrote."""

    start: int
    stop: int
    author: Author


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """A token sequence and its history: the unit of training. The collector makes it, or it comes from a data set.

    A prompt is a prefix with `trained_T` false; a demonstration, a forced prefix and a tool's output are spans with
    their own flags. Sampled tokens are never decoded and tokenised again.

    Example: prompt `[5, 6]` and sampled answer `[7, 2]`: `token_ids=[5, 6, 7, 2]`, `trained_T=[False, False, True,
    True]`, `turns=(Turn(0, 2, "user"), Turn(2, 4, "assistant"))`.
    """

    token_ids: IntArray
    """Tokens from the first one of the prompt to the last one of the last turn; shape [T]."""
    trained_T: BoolArray
    """Whether the policy chose the token, so that it may be trained; `trained_T[0]` is false."""
    logprobs_T: FloatArray
    """Log-probability of each token that the policy chose, as the generator reported it; 0 elsewhere."""
    version_spans: tuple[VersionSpan, ...]
    """The weights that sampled each trained token; in order, without overlap; empty for a demonstration."""
    turns: tuple[Turn, ...]
    """Turns in order, without gaps, covering all tokens."""
    finish: FinishReason
    """How the policy's last turn ended."""
    media: tuple[Any, ...] = ()
    """Images and other media that token ids stand for, in the order of their positions."""

    @property
    def trained_count(self) -> int:
        """Number of tokens that the policy chose."""
        return int(np.count_nonzero(self.trained_T))


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """Everything that the policy did from one prompt, once: one sample of a group. The collector makes it.

    There are several trajectories if, for example, a template rewrites the history between two turns. They share one
    verdict, one position in the group and one entry of the ledger.
    """

    sample: int
    """Position in the group, counted from 0."""
    trajectories: tuple[Trajectory, ...]
    """At least one, in the order in which they were sampled."""
    response: str
    """The text that verifiers judge: the policy's output, decoded without special tokens."""
    seconds: float
    """Time from the first submission to the last token, on the generator's clock."""

    @property
    def finish(self) -> FinishReason:
        """How the last turn ended."""
        return self.trajectories[-1].finish

    @property
    def trained_count(self) -> int:
        """Number of tokens that the policy chose, over all trajectories."""
        return sum(trajectory.trained_count for trajectory in self.trajectories)

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any of the tokens."""
        return min(span.version for trajectory in self.trajectories for span in trajectory.version_spans)


class Fault(StrEnum):
    """The cause of a verdict without a score."""

    POLICY = "policy"
    """The model's text made the verifier time out or crash: the runtime substitutes the floor score."""
    GOLD = "gold"
    """The reference cannot be read: the row is quarantined and its group dropped."""
    INFRA = "infra"
    """A judge or sandbox was unavailable: retried, then masked from the loss and from the baseline."""


class Mark(StrEnum):
    """A property of a verdict that decides what happens next, unlike a tag, which is for people."""

    PERMANENT = "permanent"
    """An infra fault that does not pass, such as a missing library, so retries are pointless."""
    NOT_APPLICABLE = "not_applicable"
    """The verifier does not apply to this sample; a composition continues without it."""
    PARTS_MISSING = "parts_missing"
    """Some named parts of the composition did not run for this sample, so `parts` lacks them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    r"""Everything a verifier may see: plain data, picklable. The collector makes it; the scorer takes it.

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
    step: int | None = None
    """Step of the RL stage at which the prompt was issued; weights that change over a stage are evaluated at it. None
    outside RL, where they have their last value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Either a score or a typed fault. A verifier makes it; advantages and filters take it.

    Example: `Verdict(score=1.0, parsed="46", reason="equal")`, `Verdict(fault=Fault.GOLD, reason="gold is empty")`.
    """

    score: float | None = None
    fault: Fault | None = None
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """Named components of the score, for logs and for normalisation per part."""
    parsed: str | None = None
    """The answer that the verifier read from the response."""
    reason: str = ""
    tags: tuple[str, ...] = ()
    """Words for people and logs; they never change what a run does."""
    marks: tuple[Mark, ...] = ()
    version: str = ""
    """Name and version of the verifier, filled in by the runtime."""
    milliseconds: float = 0.0

    def __post_init__(self) -> None:
        if (self.score is None) == (self.fault is None) and self.fault is not Fault.POLICY:
            raise ValueError(
                f"a verdict has a score or a fault; found score={self.score!r} and fault={self.fault!r}; "
                "only a policy fault carries the floor score beside it"
            )
        wrong = [tag for tag in self.tags if tag in set(Mark)]
        if wrong:
            mark = f"Mark.{wrong[0].upper()}"
            raise ValueError(f"a tag must not decide what happens next, and {wrong[0]!r} does: write marks=({mark},)")
        if self.score is not None and not np.isfinite(self.score):
            raise ValueError(f"a score must be finite; found {self.score!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """All samples of one prompt. The collector makes it; the stage takes it from the buffer."""

    prompt: Prompt
    index: int
    """Position in the order of issue, counted from the start of the stage; the order by it does not depend on which
    engine answered first."""
    episodes: tuple[Episode, ...]
    verdicts: tuple[Verdict, ...] = ()
    """One per episode, in the same order; empty until scored."""

    @property
    def oldest_version(self) -> int:
        """The oldest weights that sampled any token of the group."""
        return min(episode.oldest_version for episode in self.episodes)
