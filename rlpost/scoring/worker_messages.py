"""The messages between a worker and its parent.

The parent sends pickles, because rows may hold any plain data. The worker replies with one line of JSON per verdict, so
that the parent never unpickles anything that a model's text has influenced. Each line carries its batch and its place
in it, so that a line that the verifier's process wrote besides never becomes the verdict of a sample.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class ReplyNumber(NamedTuple):
    """The number of a reply: its batch, counted over the life of the process, and its place among the batch's lines."""

    batch: int
    place: int


class StrayReplyError(Exception):
    """A worker's process sent a line that is not the reply that was due."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Samples to judge with the same parameters: one after another, or in one call if the verifier takes several."""

    number: int
    samples: tuple[Sample, ...]
    params: dict[str, Any]


def encode_verdict(verdict: Verdict, *, number: ReplyNumber) -> bytes:
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
    return _line(values, number)


def encode_count(count: int, *, number: ReplyNumber) -> bytes:
    """Encode the line that precedes the verdicts of a call of several samples: 1 verdict for all, or one per sample."""
    return _line({"count": count}, number)


def encode_contract_error(message: str, *, number: ReplyNumber) -> bytes:
    """Encode an error as one line, which makes `decode_verdict` raise a `RewardError` with this message."""
    return _line({"contract_error": message}, number)


def decode_verdict(line: bytes, *, number: ReplyNumber) -> Verdict:
    """Decode the verdict in a line.

    Raises:
        RewardError: the verifier broke its contract.
        StrayReplyError: the line is not the reply with this number.
    """
    values = _values(line, number)
    values["fault"] = None if values["fault"] is None else Fault(values["fault"])
    values["tags"] = tuple(values["tags"])
    values["marks"] = tuple(map(Mark, values["marks"]))
    return Verdict(**values)


def decode_count(line: bytes, *, number: ReplyNumber) -> int:
    """Decode the number of verdicts that follow.

    Raises:
        RewardError: the verifier broke its contract.
        StrayReplyError: the line is not the reply with this number.
    """
    return int(_values(line, number)["count"])


def _line(values: dict[str, Any], number: ReplyNumber) -> bytes:
    return json.dumps({**number._asdict(), **values}).encode() + b"\n"


def _values(line: bytes, number: ReplyNumber) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        values = {}
    if type(values) is not dict or (values.pop("batch", None), values.pop("place", None)) != number:
        raise StrayReplyError(f"expected reply {number.place} of batch {number.batch}, found {line!r:.200}")
    if "contract_error" in values:
        raise RewardError(values["contract_error"])
    return values
