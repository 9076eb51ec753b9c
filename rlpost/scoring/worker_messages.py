"""The messages between a worker and its parent.

The parent sends pickles, because rows may hold any plain data. The worker replies with one line of JSON per verdict, so
that the parent never unpickles anything that a model's text has influenced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import Fault, Mark, Sample, Verdict

LONGEST_TEXT = 2000
"""Characters of `parsed` and of `reason` that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOrder:
    """The first message to a worker: which verifier it runs, and under which limits."""

    reference: str
    memory_mib: int
    cpu_s: int
    """Processor time that the worker, or any one process that it starts, may use in its lifetime."""
    parent_pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Samples to judge with the same parameters: one after another, or in one call if the verifier takes several."""

    samples: tuple[Sample, ...]
    params: dict[str, Any]


def encode_verdict(verdict: Verdict) -> bytes:
    """Encode a verdict as one line of plain ASCII, whatever its texts contain."""
    values = {
        "score": verdict.score,
        "fault": verdict.fault,
        "parts": {str(name): float(value) for name, value in verdict.parts.items()},
        "parsed": None if verdict.parsed is None else verdict.parsed[:LONGEST_TEXT],
        "reason": verdict.reason[:LONGEST_TEXT],
        "tags": list(verdict.tags),
        "marks": list(verdict.marks),
        "version": verdict.version,
        "milliseconds": verdict.milliseconds,
    }
    return json.dumps(values).encode() + b"\n"


def encode_count(count: int) -> bytes:
    """Encode the line that precedes the verdicts of a call of several samples: 1 verdict for all, or one per sample."""
    return json.dumps({"count": count}).encode() + b"\n"


def encode_contract_error(message: str) -> bytes:
    """Encode an error as one line, which makes `decode_verdict` raise a `RewardError` with this message."""
    return json.dumps({"contract_error": message}).encode() + b"\n"


def decode_verdict(line: bytes) -> Verdict:
    """Decode the verdict in a line.

    Raises:
        RewardError: the verifier broke its contract.
    """
    values = _values(line)
    values["fault"] = None if values["fault"] is None else Fault(values["fault"])
    values["tags"] = tuple(values["tags"])
    values["marks"] = tuple(map(Mark, values["marks"]))
    return Verdict(**values)


def decode_count(line: bytes) -> int:
    """Decode the number of verdicts that follow.

    Raises:
        RewardError: the verifier broke its contract.
    """
    return int(_values(line)["count"])


def _values(line: bytes) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(line)
    if "contract_error" in values:
        raise RewardError(values["contract_error"])
    return values
