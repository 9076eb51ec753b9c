r"""JSON that conforms to a schema, checked by jsonschema-rs, whose regular expressions take linear time.

The schema comes from the data and is not trusted either. Nothing is fetched. A `$ref` to another document, a pattern
with look-around or back-references, and an invalid schema are faults of the gold.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from rewards.extraction import OnMany
from rewards.strict_json import Fence, payload, read_json
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

if TYPE_CHECKING:
    from jsonschema_rs import Validator

LARGEST_SCHEMA = 100_000
"""Largest schema, in characters of its JSON text."""
LARGEST_PATTERN = 1 << 20
"""Largest compiled regular expression, in bytes."""

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CASES = (
    Case(response='{"name": "Ada", "age": 36}', gold=PERSON, expect="accept"),
    Case(response='```json\n{"name": "Ada", "age": 36}\n```', gold=PERSON, expect="accept"),
    Case(
        response='Here you are:\n```json\n{"name": "Ada", "age": 36}\n```\nAnything else?',
        gold=json.dumps(PERSON),
        params={"text_around": True},
        expect="accept",
        note="the schema may be text",
    ),
    Case(response='{"name": "Ada"}', gold=PERSON, expect="reject", note="a property is missing"),
    Case(response='{"name": "Ada", "age": "36"}', gold=PERSON, expect="reject", note="the wrong type"),
    Case(response='{"name": "Ada", "age": 36, "x": 1}', gold=PERSON, expect="reject"),
    Case(response="{'name': 'Ada', 'age': 36}", gold=PERSON, expect="reject", note="Python, not JSON"),
    Case(response='```json\n{"name": "Ada", "age": 36}\n```', gold=PERSON, params={"fence": "forbid"}, expect="reject"),
    Case(response='{"name": "Ada", "age": -1, "age": 36}', gold=PERSON, expect="adversarial", note="a key twice"),
    Case(response='{"name": "Ada", "age": NaN}', gold=PERSON, expect="adversarial"),
    Case(response="1e999", gold={"type": "number"}, expect="adversarial", note="an infinity"),
    Case(response="[" * 100_000 + "]" * 100_000, gold={"type": "array"}, expect="adversarial"),
    Case(response='"' + "a" * 50_000 + '!"', gold={"pattern": "^(a+)+$"}, expect="adversarial", note="a pattern bomb"),
    Case(
        response='```\n{"name": "Ada", "age": 36}\n```\n```\n{"name": "Bob", "age": 1}\n```',
        gold=PERSON,
        expect="adversarial",
        note="hedged",
    ),
    Case(response='{"name": "Ada", "age": 36} or {}', gold=PERSON, expect="adversarial"),
)


@verifier(
    name="json.schema",
    version="2",
    timeout_s=2.0,
    extra="rewards",
    modules=("jsonschema_rs",),
    cases=CASES,
)
def valid(
    sample: Sample,
    *,
    fence: Fence = "allow",
    text_around: bool = False,
    on_many: OnMany = "reject",
    formats: bool = False,
) -> Verdict:
    """1 when the response is JSON that conforms to the gold's schema, otherwise 0; `parts` has json and schema.

    Args:
        sample: Its gold is a schema of any draft, as data or as JSON text.
        fence: Whether the JSON may, must or must not be in a code fence.
        text_around: Whether text may precede or follow the fence.
        on_many: Whether several fences are rejected or the last one counts.
        formats: Whether `format` (an e-mail address, a date) is checked too.
    """
    schema = _schema_text(sample.gold)
    if schema is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a schema")
    checker = _checker(schema, formats)
    if isinstance(checker, str):
        return Verdict(fault=Fault.GOLD, reason=f"the schema cannot be used: {checker}")
    found = payload(sample.response, fence=fence, text_around=text_around, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags, parts={"json": 0.0, "schema": 0.0})
    read = read_json(found.text)
    if read.problem is not None:
        return Verdict(score=0.0, reason=read.problem, parts={"json": 0.0, "schema": 0.0})
    problem = next(iter(checker.iter_errors(read.value)), None)
    score = float(problem is None)
    reason = "valid" if problem is None else _words(problem.message, problem.instance_path)
    return Verdict(score=score, parsed=found.text[:200], reason=reason, parts={"json": 1.0, "schema": score})


def _schema_text(gold: object) -> str | None:
    """Return the schema as JSON text, the key under which compiled schemas are cached; None if it is not a schema."""
    if isinstance(gold, str):
        read = read_json(gold) if len(gold) <= LARGEST_SCHEMA else None
        gold = None if read is None or read.problem is not None else read.value
    if not isinstance(gold, dict | bool):
        return None
    try:
        text = json.dumps(gold, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return text if len(text) <= LARGEST_SCHEMA and read_json(text).problem is None else None


@lru_cache(maxsize=256)
def _checker(schema: str, formats: bool) -> Validator | str:
    """Return a compiled validator, or the reason why the schema cannot be used."""
    import jsonschema_rs

    options = jsonschema_rs.RegexOptions(size_limit=LARGEST_PATTERN)
    try:
        return jsonschema_rs.validator_for(
            json.loads(schema), pattern_options=options, validate_formats=formats, offline=True
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return f"{error!s:.200}"


def _words(message: str, path: list[str | int]) -> str:
    place = "/".join(map(str, path))
    return f"{f'at {place}: ' if place else ''}{message}"[:200]
