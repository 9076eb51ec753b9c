"""samples.jsonl: some responses with their verdicts, a few groups per step, for people to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from rlpost.recipe.environment import hidden_in
from rlpost.records import Episode, RolloutGroup, Verdict
from rlpost.telemetry.line_files import is_before, keep_lines_while

_GROUPS_PER_STEP = 2


class SampleLog:
    """Appends the first groups of each step. On resume, it first removes the records of steps that will run again."""

    def __init__(self, directory: Path, *, first_step: int) -> None:
        path = directory / "samples.jsonl"
        if path.exists():
            keep_lines_while(path, lambda text: is_before(text, first_step))
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, step: int | None, groups: Sequence[RolloutGroup]) -> None:
        """Write the groups of one step of an RL stage, or those of another stage (None)."""
        for group in groups[:_GROUPS_PER_STEP]:
            self._file.write(json.dumps({"step": step, **group_record(group)}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def group_record(group: RolloutGroup) -> dict[str, Any]:
    """Convert a group to plain data, without values from the environment."""
    record: dict[str, Any] = {
        "prompt": group.prompt.id,
        "messages": [message.as_dict() for message in group.prompt.messages],
        "gold": group.prompt.gold,
        "responses": [
            _response_record(episode, verdict) for episode, verdict in zip(group.episodes, group.verdicts, strict=True)
        ],
    }
    return hidden_in(record)


def _response_record(episode: Episode, verdict: Verdict) -> dict[str, Any]:
    spans = [span for trajectory in episode.trajectories for span in trajectory.version_spans]
    return {
        "text": episode.response,
        "finish": episode.finish,
        "versions": [spans[0].version, spans[-1].version],
        "score": verdict.score,
        "fault": verdict.fault,
        "parts": dict(verdict.parts),
        "parsed": verdict.parsed,
        "reason": verdict.reason,
        "tags": list(verdict.tags),
        "marks": list(verdict.marks),
        "verifier": verdict.version,
    }
