"""One engine as the pool sees it: its state, its requests, and its last answer. Knows nothing of Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rlpost.engine_records import EngineLoad, WeightManifest
from rlpost.records import GenerationRequest


class EngineState(StrEnum):
    """The states of an engine, in order; in each state the pool waits for the answer to one call."""

    STARTING = "starting"
    """Waits for devices, then loads the model (`ready`)."""
    STALE = "stale"
    """Pulls the weights that the other engines have (`catch_up`)."""
    SERVING = "serving"
    """Receives requests (`poll`)."""
    LEAVING = "leaving"
    """Receives no more requests, and finishes those that it has (`poll`)."""
    ENDING = "ending"
    """Frees its devices (`close`)."""


@dataclass(kw_only=True, slots=True, eq=False)
class Engine:
    """An engine, and the one open call to it, which follows from its state."""

    place: int
    """The number of its slot among the run's engines; the slot is free again when the engine has ended."""
    actor: Any
    call: Any
    """Reference to the answer of the open call."""
    whereabouts: Any = None
    """Reference to the location of its process."""
    state: EngineState = EngineState.STARTING
    deadline_s: float = math.inf
    """Time on the monotonic clock at which the current state has lasted too long."""
    answer_due_s: float = math.inf
    """Time on the monotonic clock at which a working engine has been silent for too long."""
    replaces: bool = False
    """Whether it replaces an engine that died; it is then replaced itself if it dies before it serves."""
    load: EngineLoad | None = None
    """The last reported load; it exists from the state STALE on."""
    in_flight: dict[tuple[str, int], GenerationRequest] = field(
        default_factory=dict[tuple[str, int], GenerationRequest]
    )
    """Requests that were given to it and are not answered yet."""
    submissions: list[Any] = field(default_factory=list[Any])
    """References to submissions that it has not acknowledged yet."""
    holds: tuple[WeightManifest, ...] = ()
    """The weights that it has pulled, or is pulling, to catch up."""
    pulls: int = 0
    """Number of weight updates in progress; during an update the engine may not end."""
    pulse: Any = None
    """Reference to the answer of a liveness check, which is made during a weight update, when nobody may be polling."""
    pulse_due_s: float = math.inf
    """Time on the monotonic clock at which that answer is overdue."""

    @property
    def name(self) -> str:
        """Its name on receipts, in errors and in metrics."""
        return f"rollout-{self.place}"

    def in_words(self, *, has_answered: bool, now_s: float, silence_timeout_s: float) -> str:
        """Describe state, work and silence for a report; `now_s` is on the monotonic clock."""
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
        """Return how many more requests it may get, if `backlog` of them may wait inside it beyond its own limit."""
        assert self.load is not None, f"{self.name} was asked for room before it said anything"
        return self.load.limit + backlog - len(self.in_flight)
