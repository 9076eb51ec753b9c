from __future__ import annotations

import pytest

from rewards.strict_json import payload, read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (' {"a": [1, null, "\\u00e9"]} ', {"a": [1, None, "\u00e9"]}),
        ('"[[[["', "[[[["),
        ("[" * 64 + "]" * 64, None),
    ],
)
def test_a_value_is_read(text: str, value: object) -> None:
    read = read_json(text)
    assert read.problem is None
    assert value is None or read.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{'a': 1}",
        '{"a": 1, "a": 2}',
        '{"x": {"a": 1, "\\u0061": 2}}',
        "NaN",
        "-Infinity",
        "1e999",
        "[1,]",
        "1 2",
        "[" * 65 + "]" * 65,
        "[" * 10**5,
        '{"a":' * 10**5,
        '"\\ud800"',
        '"\udc80"',
        "9" * 5000,
        "\ufeff1",
        '"a\nb"',
    ],
)
def test_what_is_not_strict_json_is_a_problem(text: str) -> None:
    assert read_json(text).problem


def test_brackets_inside_strings_are_no_nesting() -> None:
    text = '"' + '[\\"' * 1000 + '"'
    assert read_json(text).value == '["' * 1000


@pytest.mark.parametrize(
    ("response", "fence", "text_around", "on_many", "text"),
    [
        ("1", "allow", False, "reject", "1"),
        ("<think>```</think>1", "allow", False, "reject", "1"),
        ("```json\n1\n```", "allow", False, "reject", "1"),
        ("```\n1\n2\n```", "require", False, "reject", "1\n2"),
        ("1", "require", False, "reject", None),
        ("```\n1\n```", "forbid", False, "reject", None),
        ("so\n```\n1\n```", "allow", False, "reject", None),
        ("so\n```\n1\n```\nbye", "allow", True, "reject", "1"),
        ("```\n1\n```\n```\n2\n```", "allow", False, "reject", None),
        ("```\n1\n```\n```\n2\n```", "allow", False, "last", "2"),
        ("```\n1\n```\n```\n1\n```", "allow", False, "reject", "1"),
        ("```\n1", "allow", True, "last", None),
        ("", "allow", True, "last", None),
        ("1" * 200_001, "allow", True, "last", None),
    ],
)
def test_the_payload_of_a_response(
    response: str, fence: str, text_around: bool, on_many: str, text: str | None
) -> None:
    found = payload(response, fence=fence, text_around=text_around, on_many=on_many)  # type: ignore[arg-type] - a case's str
    assert found.text == text
    assert bool(found.reason) == (text is None)
