r"""Tool calls, compared by name and arguments as in the Berkeley Function Calling Leaderboard, but in JSON only.

A response is one call, a JSON list of calls, the same in a code fence, or `<tool_call>...</tool_call>` around each
call. A call is `{"name": ..., "arguments": {...}}`. Accepted too: `parameters` in place of `arguments`, arguments as
JSON text, and the nesting `{"function": {...}}`. An extra call or argument is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from rewards.extraction import OnMany, after_thinking
from rewards.strict_json import payload, read_json
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

MOST_CALLS = 64
LONGEST_REFUSAL = 10_000
"""Longest response without a call, in characters, if no call is right."""

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_OSLO = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
_OSLO_TEXT = '{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}'
_BERN_TEXT = '{"name": "weather", "arguments": {"city": "Bern"}}'
_BERN = {"name": "weather", "arguments": {"city": "Bern"}}

CASES = (
    Case(response=_OSLO_TEXT, gold=_OSLO, expect="accept"),
    Case(response=f"```json\n[{_BERN_TEXT}, {_OSLO_TEXT}]\n```", gold=[_OSLO, _BERN], expect="accept"),
    Case(response=f"<tool_call>{_OSLO_TEXT}</tool_call>", gold=[_OSLO], expect="accept"),
    Case(
        response='{"name": "weather", "arguments": {"city": "Oslo, Norway"}}',
        gold=[{"weather": {"city": ["Oslo", "Oslo, Norway"], "days": [1, ""]}}],
        params={"possible_values": True},
        expect="accept",
        note="BFCL: any of the values; an argument that may be empty may be left out",
    ),
    Case(
        response='{"name": "weather", "arguments": {"place": {"city": "Oslo"}}}',
        gold=[{"weather": {"place": [{"city": ["Oslo", "oslo"], "country": ["NO", ""]}]}}],
        params={"possible_values": True},
        expect="accept",
        note="BFCL: a mapping's fields have lists of values too",
    ),
    Case(response="No tool can tell me that.", gold=[], expect="accept", note="no call is the right one"),
    Case(response=_BERN_TEXT, gold=_OSLO, expect="reject"),
    Case(response=_OSLO_TEXT.replace("weather", "climate"), gold=_OSLO, expect="reject"),
    Case(response=_OSLO_TEXT.replace("3", '"3"'), gold=_OSLO, expect="reject", note="text is no number"),
    Case(response=_BERN_TEXT, gold=[_OSLO, _BERN], params={"partial": True}, expect="reject", at_most=0.7),
    Case(response=f"[{_BERN_TEXT}, {_OSLO_TEXT}]", gold=[_OSLO, _BERN], params={"ordered": True}, expect="reject"),
    Case(response=f"[{_OSLO_TEXT}, {_BERN_TEXT}]", gold=_OSLO, expect="adversarial", note="a call too many"),
    Case(
        response=_OSLO_TEXT.replace("3}", '3, "x": 1}'), gold=_OSLO, expect="adversarial", note="one argument too many"
    ),
    Case(response=f"{_OSLO_TEXT} or {_BERN_TEXT}", gold=_OSLO, expect="adversarial", note="hedged"),
    Case(response=f"<tool_call>{_OSLO_TEXT}", gold=_OSLO, expect="adversarial", note="cut off"),
    Case(response=_OSLO_TEXT.replace('"days"', '"city": "Bern", "days"'), gold=_OSLO, expect="adversarial"),
    Case(
        response=_OSLO_TEXT.replace("3", "true"),
        gold={**_OSLO, "arguments": {"city": "Oslo", "days": 1}},
        expect="adversarial",
    ),
    Case(
        response='{"name": "weather", "arguments": {"place": {"city": ["Oslo", "oslo"]}}}',
        gold=[{"weather": {"place": [{"city": ["Oslo", "oslo"]}]}}],
        params={"possible_values": True},
        expect="adversarial",
        note="all possible values in place of one",
    ),
    Case(response=_OSLO_TEXT, gold=[], expect="adversarial", note="a call where none is right"),
)


class Call(NamedTuple):
    """One call that was read."""

    name: str
    arguments: Mapping[str, Any]


class Calls(NamedTuple):
    """The calls of a response, or the reason why there are none."""

    calls: list[Call]
    problem: str | None = None
    tags: tuple[str, ...] = ()


@verifier(name="tool.call", version="2", isolation="inline", cases=CASES)
def call(
    sample: Sample,
    *,
    ordered: bool = False,
    partial: bool = False,
    strict_types: bool = True,
    possible_values: bool = False,
    text_around: bool = False,
    on_many: OnMany = "reject",
) -> Verdict:
    """1 when the calls are those of the gold, otherwise 0; `parts` has precision and recall of the calls.

    Args:
        sample: Its gold is a call or a list of calls, as data or JSON text; `[]` if no call is right.
        ordered: Whether the order of calls counts.
        partial: Give F1 of the calls as the score.
        strict_types: Whether `"3"` differs from 3 and `"true"` from true; in JSON, 3.0 equals 3 either way.
        possible_values: Whether the gold has the form of BFCL, `{"weather": {"city": ["Oslo", "oslo"]}}`: each argument
            has a list of right values, in which `""` means that it may be omitted.
        text_around: Whether text may precede or follow the calls.
        on_many: Whether several code fences are rejected or the last one counts.
    """
    gold = _gold_calls(sample.gold, possible_values=possible_values)
    if gold is None:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a list of calls")
    read = _response_calls(sample.response, text_around=text_around, on_many=on_many)
    if not gold:
        return _verdict_without_call(sample.response, read)
    if read.problem is not None:
        return Verdict(score=0.0, reason=read.problem, tags=read.tags)
    pairs = _pairs(read.calls, gold, ordered=ordered, strict_types=strict_types, possible_values=possible_values)
    parts = {"precision": pairs / max(1, len(read.calls)), "recall": pairs / len(gold)}
    parsed = ", ".join(one.name for one in read.calls)[:200]
    if pairs == len(gold) == len(read.calls):
        return Verdict(score=1.0, parsed=parsed, parts=parts, reason="equal")
    share = 2 * pairs / (len(read.calls) + len(gold)) if partial else 0.0
    return Verdict(
        score=share, parsed=parsed, parts=parts, reason=f"{pairs} of {len(gold)} calls, in {len(read.calls)}"
    )


def _verdict_without_call(response: str, read: Calls) -> Verdict:
    """Return the verdict if no call is right: the response must be words, or an empty list."""
    text = after_thinking(response)
    says_no_call = text.strip() == "[]" or (any(map(str.isalnum, text)) and text.lstrip()[0] not in "[{`")
    right = says_no_call and not read.calls and "tool_call>" not in text and len(text) <= LONGEST_REFUSAL
    return Verdict(score=float(right), reason="no call" if right else "a call, or nothing at all")


def _response_calls(response: str, *, text_around: bool, on_many: OnMany) -> Calls:
    text = after_thinking(response)
    if _OPENING not in text:
        found = payload(response, fence="allow", text_around=text_around, on_many=on_many)
        return Calls([], found.reason, found.tags) if found.text is None else _read_calls(found.text)
    outside, *pieces = text.split(_OPENING)
    calls: list[Call] = []
    for piece in pieces[: MOST_CALLS + 1]:
        inside, closing, behind = piece.partition(_CLOSING)
        if not closing:
            return Calls([], "a tool call is not closed", ("truncated",))
        read = _read_calls(inside)
        if read.problem is not None:
            return read
        calls += read.calls
        outside += behind
    if outside.strip() and not text_around:
        return Calls([], "text beside the calls")
    return Calls(calls) if len(calls) <= MOST_CALLS else Calls([], f"more than {MOST_CALLS} calls", ("stuffed",))


def _read_calls(text: str) -> Calls:
    read = read_json(text)
    if read.problem is not None:
        return Calls([], read.problem)
    several = cast("Sequence[object]", read.value if isinstance(read.value, list) else [read.value])
    calls = [_call(one) for one in several[: MOST_CALLS + 1]]
    good = [one for one in calls if one is not None]
    if len(good) > MOST_CALLS:
        return Calls([], f"more than {MOST_CALLS} calls", ("stuffed",))
    return Calls(good) if len(good) == len(calls) else Calls([], "not a call: it needs a name and arguments")


def _call(value: object) -> Call | None:
    """Parse a call from data; None if it is not a call, or has keys that a call does not have."""
    if not isinstance(value, Mapping):
        return None
    fields = dict(cast("Mapping[Any, Any]", value))
    inner = fields.get("function")
    if isinstance(inner, Mapping) and fields.keys() <= {"function", "type", "id"}:
        fields = dict(cast("Mapping[Any, Any]", inner))
    name = fields.pop("name", None)
    arguments = fields.pop("arguments", fields.pop("parameters", {}))
    if isinstance(arguments, str):
        arguments = read_json(arguments).value
    if not isinstance(name, str) or not isinstance(arguments, Mapping) or fields.keys() - {"id", "type"}:
        return None
    return Call(name, cast("Mapping[str, Any]", arguments))


def _gold_calls(gold: object, *, possible_values: bool) -> list[Call] | None:
    if isinstance(gold, str):
        read = read_json(gold)
        gold = None if read.problem is not None else read.value
    if not isinstance(gold, list | tuple | Mapping):
        return None
    several = cast("Sequence[object]", [gold] if isinstance(gold, Mapping) else gold)
    calls = [_possible_call(one) if possible_values else _call(one) for one in several]
    good = [one for one in calls if one is not None]
    return good if len(good) == len(calls) <= MOST_CALLS else None


def _possible_call(value: object) -> Call | None:
    fields = cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else {}
    if len(fields) != 1:
        return None
    [(name, arguments)] = fields.items()
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        return None
    given = cast("Mapping[str, Any]", arguments)
    return Call(name, given) if all(isinstance(values, list | tuple) for values in given.values()) else None


def _pairs(
    calls: Sequence[Call], gold: Sequence[Call], *, ordered: bool, strict_types: bool, possible_values: bool
) -> int:
    """Count the calls that match a gold call of their own; each takes the first free one."""

    def fits(made: Call, wanted: Call) -> bool:
        if made.name != wanted.name:
            return False
        if possible_values:
            return _fits_possible(made.arguments, wanted.arguments, strict_types=strict_types)
        return _equal(made.arguments, wanted.arguments, strict_types=strict_types)

    if ordered:
        return sum(fits(made, wanted) for made, wanted in zip(calls, gold, strict=False))
    free = list(gold)
    for made in calls:
        place = next((index for index, wanted in enumerate(free) if fits(made, wanted)), None)
        if place is not None:
            del free[place]
    return len(gold) - len(free)


def _fits_possible(arguments: Mapping[str, Any], possible: Mapping[str, Any], *, strict_types: bool) -> bool:
    if not arguments.keys() <= possible.keys():
        return False
    return all(
        any(_fits_value(arguments[name], value, strict_types=strict_types) for value in values)
        if name in arguments
        else "" in values
        for name, values in possible.items()
    )


def _fits_value(value: object, possible: object, *, strict_types: bool) -> bool:
    """Whether a value is a possible one; fields of a mapping have lists of possible values in turn, as in BFCL."""
    if isinstance(possible, Mapping):
        fields = cast("Mapping[str, Any]", possible)
        if fields and all(isinstance(values, list | tuple) for values in fields.values()):
            given = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None
            return given is not None and _fits_possible(given, fields, strict_types=strict_types)
    elif isinstance(possible, list | tuple) and isinstance(value, list | tuple):
        items, others = cast("Sequence[object]", value), cast("Sequence[object]", possible)
        return len(items) == len(others) and all(
            _fits_value(item, other, strict_types=strict_types) for item, other in zip(items, others, strict=True)
        )
    return _equal(value, possible, strict_types=strict_types)


def _equal(value: object, wanted: object, *, strict_types: bool) -> bool:
    """Whether two values are equal as JSON: a boolean is not a number, 3.0 is 3; order counts in lists but not among
    keys.
    """
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        given, asked = cast("Mapping[str, Any]", value), cast("Mapping[str, Any]", wanted)
        return given.keys() == asked.keys() and all(
            _equal(given[key], asked[key], strict_types=strict_types) for key in asked
        )
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        items, others = cast("Sequence[Any]", value), cast("Sequence[Any]", wanted)
        return len(items) == len(others) and all(
            _equal(item, other, strict_types=strict_types) for item, other in zip(items, others, strict=True)
        )
    if isinstance(value, Mapping | list | tuple) or isinstance(wanted, Mapping | list | tuple):
        return False
    if value == wanted and isinstance(value, bool) == isinstance(wanted, bool):
        return True
    return not strict_types and _as_text(value) == _as_text(wanted)


def _as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()
