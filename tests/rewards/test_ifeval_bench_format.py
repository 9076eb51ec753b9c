from __future__ import annotations

from typing import Any

import pytest
from ifeval_judging import judged, one, pairs

from rewards.ifeval_bench_format import FORMAT

FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("sentence:keyword", {"word": "Sun", "N": 2}, "Hi. The sun, yes!", "The sun. Sunny!"),
    ("sentence:increment", {"small_n": 2}, "One. Two three four! A b c d e?", "One. Two three."),
    ("sentence:increment", {"small_n": 1}, "One. Two-three four.", "Only one sentence."),
    ("sentence:alliteration_increment", {}, "I see. Big bears rest. Big bold bears rest.", "Big bears. Red rats."),
    ("sentence:alliteration_increment", {}, "I see. Big bears.", "Big bold bears."),
    ("ratio:sentence_type", {}, "I am. You are. Are we?", "I am. Are we?"),
    ("ratio:sentence_type", {}, 'I am. He said "so." (Are we?)', "What a day! What a night!"),
    ("ratio:sentence_balance", {}, "I am. Are we? Go!", "I am. Are we?"),
    ("ratio:sentence_balance", {}, "Go! I am. Are we?", "no mark at all"),
    ("ratio:sentence_words", {}, "Ann ran. Bob sat. Cat bit.", "Ann ran. Bob ran. Cat ran."),
    ("ratio:sentence_words", {}, "Ann ran. Bob sat. Cat bit.", "Ann ran. Bob sits. Cat bit."),
    ("format:emoji", {}, "Hello there! \U0001f600 Bye \u2764\ufe0f.", "Hello there! Bye \U0001f600."),
    ("format:emoji", {}, "One. \U0001f44d\U0001f3fd Two?\U0001f1e9\U0001f1ea", "One \U0001f600. Two."),
    ("format:parentheses", {}, "a (b [c {d (e [f] g) h} i] j) k", "a (b [c {d (e [f] g) h} i j) k"),
    ("format:parentheses", {}, ":) (((((a)))))", "((((((a)"),
    ("format:quotes", {}, '"She said \'he said "no" to us\' then"', "\"She said 'no' then\""),
    (
        "format:quotes",
        {},
        "\u201cShe \u2018can\u2019t say \u201cno\u201d now\u2019 then\u201d",
        "It's \"don't\" or 'won't'",
    ),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", "Maybe, because."),
    ("format:options", {"options": "I know or I don't know"}, "I don't know", "I do not know"),
    ("format:options", {"options": "a), b), c), d)"}, "c)", "C"),
    ("format:newline", {}, "One\n\ntwo,\nthree", "One\ntwo three"),
    ("format:line_indent", {}, "a\n b\n\n   c", "a\n b\n c"),
    ("format:line_indent", {}, "```\na\n  b\n```", "a"),
    ("format:quote_unquote", {}, '"Rain" is water. "Snow" is ice.', '"Rain" is water. So is "snow".'),
    ("format:quote_unquote", {}, "\u201cRain\u201d is water", '"Rain" "snow" are water'),
    ("format:quote_unquote", {}, '"Rain" is water', "Rain is water"),
    ("format:list", {"sep": "!?!?"}, "!?!? one\n!?!? two", "!?!? one\n!? two"),
    ("format:list", {"sep": "..."}, "... one ... two", "\u2026one"),
    ("format:thesis", {}, "<i>Rain is good.</i> It waters.", "<i>Rain is good.</i>"),
    ("format:thesis", {}, "# One\n<em>Rain</em>\nbody", "<i> </i> body"),
    ("format:sub-bullets", {}, "So:\n* one\n  - a\n  - b\n* two\n  - **c**", "* one\n  - a\n* two"),
    ("format:sub-bullets", {}, "* one\n- a", "no bullet - at all"),
    ("format:no_bullets_bullets", {}, "One is.\n\nTwo is.\n\n* a\n* b", "One is.\n* a\n* b"),
    ("format:no_bullets_bullets", {}, "One is. Two is.\n* a\n\n* b", "One is. Two is.\n* a\n* b\nThree is."),
    (
        "format:output_template",
        {},
        "My Answer: a\nMy Conclusion: b\nFuture Outlook: c",
        "My Answer: a\nFuture Outlook: c",
    ),
    (
        "format:output_template",
        {},
        "**My Answer:** a\n**My Conclusion:** b\n**Future Outlook:** c",
        "My Answer: My Conclusion: b Future Outlook: c",
    ),
    ("format:no_whitespace", {}, "NoSpaceAtAll.", "One\u00a0space"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), pairs(FOLLOWED))
def test_a_constraint_is_followed_or_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert [judged(response, one(name, **arguments)).score for response in (good, bad)] == [1.0, 0.0]


def test_each_constraint_of_format_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(FORMAT)
