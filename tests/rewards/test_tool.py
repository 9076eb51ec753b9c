from __future__ import annotations

import json

import pytest

from rewards.tool import call
from rlpost.records import Fault, Sample, Verdict

ADD = {"name": "add", "arguments": {"x": 1, "y": [2, 3]}}
SUB = {"name": "sub", "arguments": {}}


def judged(response: object, gold: object, **params: object) -> Verdict:
    text = response if isinstance(response, str) else json.dumps(response)
    return call.judge(Sample(id="s", prompt="", response=text, gold=gold), params=call.validated(params))


@pytest.mark.parametrize(
    "gold", [7, "add(1)", [7], {"arguments": {}}, {"name": 1, "arguments": {}}, [{"name": "f", "x": 1}]]
)
def test_a_gold_that_is_no_call_is_a_gold_fault(gold: object) -> None:
    assert judged(ADD, gold).fault is Fault.GOLD


@pytest.mark.parametrize("gold", [[{"f": {"x": 1}}], [{"f": {}, "g": {}}], [ADD]])
def test_possible_values_must_be_lists_of_one_call(gold: object) -> None:
    assert judged(ADD, gold, possible_values=True).fault is Fault.GOLD


@pytest.mark.parametrize(
    "response",
    [
        ADD,
        [ADD],
        {"name": "add", "parameters": {"y": [2, 3], "x": 1.0}},
        {"name": "add", "arguments": '{"x": 1, "y": [2, 3]}'},
        {"type": "function", "id": "1", "function": ADD},
        "```json\n" + json.dumps(ADD) + "\n```",
        "<think>add?</think>\n<tool_call>\n" + json.dumps(ADD) + "\n</tool_call>",
    ],
)
def test_a_call_is_read_however_it_is_wrapped(response: object) -> None:
    assert judged(response, ADD).score == 1.0


@pytest.mark.parametrize(
    "response",
    [
        [ADD, ADD],
        [ADD, SUB],
        [],
        {**ADD, "arguments": {"x": 1}},
        {**ADD, "arguments": {"x": 1, "y": [3, 2]}},
        {**ADD, "arguments": {"x": True, "y": [2, 3]}},
        {**ADD, "arguments": {"x": "1", "y": [2, 3]}},
        {**ADD, "arguments": {"x": 1, "y": [2, 3], "z": None}},
        {**ADD, "name": "Add"},
        {**ADD, "comment": "or sub"},
        "add(x=1, y=[2, 3])",
        "I call " + json.dumps(ADD),
        json.dumps(ADD) + " or something else",
        "<tool_call>" + json.dumps(ADD),
        "<tool_call>" + json.dumps(ADD) + "</tool_call><tool_call>{}</tool_call>",
        "<tool_call>" + json.dumps(ADD) + "</tool_call> or not",
        "<tool_call>" * 10**5,
        '{"name": "sub", "name": "add", "arguments": {"x": 1, "y": [2, 3]}}',
    ],
)
def test_other_or_further_calls_get_nothing(response: object) -> None:
    assert judged(response, ADD).score == 0.0


def test_types_may_be_loose_when_asked() -> None:
    response = {"name": "add", "arguments": {"x": "1", "y": ["2", "3.0"]}}
    assert [judged(response, ADD, strict_types=strict).score for strict in (True, False)] == [0.0, 0.0]
    response["arguments"] = {"x": " 1", "y": ["2", 3.0]}
    assert [judged(response, ADD, strict_types=strict).score for strict in (True, False)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "score"),
    [
        ({"city": "Oslo"}, 1.0),
        ({"city": "OSL", "days": 1}, 1.0),
        ({"city": "Oslo", "days": 2}, 0.0),
        ({"days": 1}, 0.0),
        ({"city": ["Oslo", "OSL"]}, 0.0),
    ],
)
def test_any_of_the_possible_values_is_right(arguments: dict[str, object], score: float) -> None:
    gold = [{"weather": {"city": ["Oslo", "OSL"], "days": [1, ""]}}]
    assert judged({"name": "weather", "arguments": arguments}, gold, possible_values=True).score == score


def test_order_and_partial_credit() -> None:
    gold = [ADD, SUB]
    assert [judged([SUB, ADD], gold, ordered=ordered).score for ordered in (False, True)] == [1.0, 0.0]
    verdict = judged(SUB, gold, partial=True)
    assert (verdict.score, verdict.parts) == (pytest.approx(2 / 3), {"precision": 1.0, "recall": 0.5})


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("I cannot do that.", 1.0),
        ("[]", 1.0),
        ("", 0.0),
        ("...", 0.0),
        (json.dumps(ADD), 0.0),
        ("```json\n" + json.dumps(ADD) + "\n```", 0.0),
        ("<tool_call>[]</tool_call>", 0.0),
        ('[{"name": 1}]', 0.0),
        ("a" * 10_001, 0.0),
    ],
)
def test_where_no_call_is_right_words_are(response: str, score: float) -> None:
    assert judged(response, []).score == score


def test_a_flood_of_calls_is_stuffing() -> None:
    verdict = judged([ADD] * 100, ADD, partial=True)
    assert (verdict.score, verdict.tags) == (0.0, ("stuffed",))


ORDER = [{"order": {"items": [[{"name": ["tea", "Tea"], "count": [2]}, {"name": ["bun"], "count": [1, ""]}]]}}]
PLACE = [{"find": {"where": [{"city": ["Oslo", "oslo"], "area": [{"zip": ["0150"]}]}], "tags": [["a", "b"], ""]}}]


@pytest.mark.parametrize(
    ("arguments", "gold", "score"),
    [
        ({"items": [{"name": "tea", "count": 2}, {"name": "bun", "count": 1}]}, ORDER, 1.0),
        ({"items": [{"name": "Tea", "count": 2}, {"name": "bun"}]}, ORDER, 1.0),
        ({"items": [{"name": "tea"}, {"name": "bun"}]}, ORDER, 0.0),
        ({"items": [{"name": "bun"}, {"name": "tea", "count": 2}]}, ORDER, 0.0),
        ({"items": [{"name": ["tea", "Tea"], "count": [2]}, {"name": ["bun"], "count": [1, ""]}]}, ORDER, 0.0),
        ({"items": [{"name": "tea", "count": 2}]}, ORDER, 0.0),
        ({"where": {"city": "oslo", "area": {"zip": "0150"}}}, PLACE, 1.0),
        ({"where": {"city": "oslo", "area": {"zip": "0150"}}, "tags": ["a", "b"]}, PLACE, 1.0),
        ({"where": {"city": "oslo", "area": {"zip": "0150"}}, "tags": "a"}, PLACE, 0.0),
        ({"where": {"city": "oslo", "area": {"zip": ["0150"]}}}, PLACE, 0.0),
        ({"where": {"city": "oslo", "area": "0150"}}, PLACE, 0.0),
        ({"where": {"city": "oslo", "area": {"zip": "0150"}, "x": 1}}, PLACE, 0.0),
        ({"where": "oslo"}, PLACE, 0.0),
    ],
)
def test_possible_values_are_looked_up_at_every_depth(arguments: object, gold: object, score: float) -> None:
    name = next(iter(gold[0]))  # pyright: ignore[reportIndexIssue, reportUnknownVariableType, reportUnknownArgumentType] - a list
    response = json.dumps({"name": name, "arguments": arguments})
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    assert call.judge(sample, params=call.validated({"possible_values": True})).score == score
