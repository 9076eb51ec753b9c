"""One engine as the pool knows it: its state, what it was given, what it said last. Knows nothing of Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rlpost.engine_records import EngineLoad, WeightManifest
from rlpost.records import GenerationRequest


class EngineState(StrEnum):
    """The life of an engine, in order; each state waits for the answer to one call."""

    STARTING = "starting"
    """Waits for devices and for the model (`ready`)."""
    STALE = "stale"
    """Pulls the weights that the others hold (`catch_up`)."""
    SERVING = "serving"
    """Gets requests (`poll`)."""
    LEAVING = "leaving"
    """Gets no more requests, finishes those it has (`poll`)."""
    ENDING = "ending"
    """Frees its devices (`close`)."""


@dataclass(kw_only=True, slots=True, eq=False)
class Engine:
    """An engine and the one call that it is to answer next, which follows from its state."""

    place: int
    """Which of the run's places for engines it takes; free again when it has ended."""
    actor: Any
    call: Any
    """Reference to the answer."""
    whereabouts: Any = None
    """Reference to where its process is."""
    state: EngineState = EngineState.STARTING
    deadline_s: float = math.inf
    """On the monotonic clock: when the state has lasted too long."""
    answer_due_s: float = math.inf
    """On the monotonic clock: when an engine at work has been silent for too long."""
    replaces: bool = False
    """Whether it stands in for one that died, and is itself replaced if it dies before it serves."""
    load: EngineLoad | None = None
    """As last heard; there is one from STALE on."""
    in_flight: dict[tuple[str, int], GenerationRequest] = field(
        default_factory=dict[tuple[str, int], GenerationRequest]
    )
    """Given to it and not yet answered."""
    submissions: list[Any] = field(default_factory=list[Any])
    """References to submissions that it has not acknowledged yet."""
    holds: tuple[WeightManifest, ...] = ()
    """What it has pulled, or pulls, to catch up."""
    pulls: int = 0
    """Weight updates under way; while there is one, the engine may not end."""
    pulse: Any = None
    """Reference to a sign of life that was asked for in a weight update, where nobody may be polling."""
    pulse_due_s: float = math.inf
    """On the monotonic clock: when that sign has not come for too long."""

    @property
    def name(self) -> str:
        """On receipts, in errors and in metrics."""
        return f"rollout-{self.place}"

    def in_words(self, *, has_answered: bool, now_s: float, silence_timeout_s: float) -> str:
        """State, work and silence, for a report; `now_s` is on the monotonic clock."""
        words = [str(self.state), f"{len(self.in_flight)} requests"]
        if self.pulls:
            words.append("pulls weights")
        if has_answered:
            words.append("has answered, which nobody has read yet")
        elif self.answer_due_s < math.inf:
            silent_s = max(0.0, now_s - self.answer_due_s + silence_timeout_s)
            words.append(f"silent for {silent_s:.0f} of at most {silence_timeout_s:g} s")
        elif self.deadline_s < math.inf:
            words.append(f"{self.deadline_s - now_s:.0f} s left for it")
        return ", ".join(words)

    def room(self, backlog: int) -> int:
        """Requests it may still get, when `backlog` of them may wait inside it beyond the limit that it set itself."""
        assert self.load is not None, f"{self.name} was asked for room before it said anything"
        return self.load.limit + backlog - len(self.in_flight)
