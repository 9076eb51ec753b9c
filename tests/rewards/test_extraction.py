from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.extraction import final_answer, plain_characters


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("7", "7"),
        ("\uff17\uff0b\uff11", "7+1"),
        ("\u0967\u0968", "12"),
        ("1\u200b2\u2060", "12"),
        ("5\u00b2", "5^{2}"),
        ("10\u207b\u00b3", "10^{-3}"),
        ("3\u00bd", r"3\frac{1}{2}"),
        ("1\u20442", "1/2"),
        ("\u2212\u202e4", "-4"),
    ],
)
def test_the_unicode_policy(text: str, plain: str) -> None:
    assert plain_characters(text) == plain


@given(st.text())
def test_plain_characters_change_nothing_the_second_time(text: str) -> None:
    once = plain_characters(text)
    assert plain_characters(once) == once


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\}}", r"\}"),
        (r"\boxed{a} then text }", "a"),
        (r"\boxed{\text{a \boxed{b}}}", r"a \boxed{b}"),
        (r"\boxed{}", None),
        (r"\boxed7", None),
    ],
)
def test_the_last_box_is_read_with_its_braces_in_balance(response: str, answer: str | None) -> None:
    assert final_answer(response, where="last_boxed", on_many="reject").text == answer


@given(st.recursive(st.text("ab1 ,", max_size=5), lambda inner: inner.map("{{{}}}".format), max_leaves=5))
def test_what_is_put_in_a_box_comes_out(inside: str) -> None:
    found = final_answer(rf"so {{\bf x}} \boxed{{{inside}}} }}", where="last_boxed", on_many="reject")
    assert found.text == (inside.strip() or None)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("a\nb\n\n", "b"),
        ("Answer: 4", "4"),
        ("So the final answer is: 4", "4"),
        ("**Answer:** 4", "4"),
        ("#### 4", "4"),
        ("answers differ", "answers differ"),
        (" \n ", None),
    ],
)
def test_the_final_line_is_read_without_its_label(response: str, answer: str | None) -> None:
    assert final_answer(response, where="final_line", on_many="reject").text == answer


def test_a_flood_of_combining_marks_is_read_in_linear_time_and_thirty_are_kept() -> None:
    flood = "a" + "\u0301" * 200_000 + "\u0316" * 200_000 + "b"
    started = time.process_time()
    text = plain_characters(flood)
    assert time.process_time() - started < 5, "sorting all of them would take minutes"
    assert text[0] == "\u00e1" and text[-1] == "b" and len(text) == 1 + 29 + 1
    assert plain_characters("e\u0301") == "\u00e9"


@pytest.mark.parametrize("tail", [" or 7", ", or perhaps 7", "$ or 7", " OR something else"])
def test_an_alternative_behind_the_box_is_a_hedge(tail: str) -> None:
    found = final_answer(r"so \boxed{5}" + tail, where="last_boxed", on_many="reject")
    assert (found.text, found.tags) == (None, ("hedged",))
    assert final_answer(r"so \boxed{5}" + tail, where="last_boxed", on_many="last").text == "5"


@pytest.mark.parametrize("tail", ["", ".", " orders", " of all, or nearly all"])
def test_what_else_stands_behind_the_box_is_no_hedge(tail: str) -> None:
    assert final_answer(r"so \boxed{5}" + tail, where="last_boxed", on_many="reject").text == "5"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{\text{Paris}}", "Paris"),
        (r"$\boxed{\textbf{ Paris }}$", "Paris"),
        (r"\boxed{\text{The answer is }7}", "7"),
        (r"\boxed{\text{Answer: } 7}", "7"),
        (r"\boxed{$7$}", "7"),
        (r"x = -\boxed{5}", "-5"),
        (r"minus \boxed{a+b}", "-(a+b)"),
        ("Work.\n<answer>7</answer>", "7"),
        ("<reasoning>It is 8.</reasoning>\n<answer>\n7\n</answer>", "7"),
        ("[THINK]8[/THINK]7", "7"),
        ("<thinking>The answer is 8</thinking>The answer is 7", "7"),
        ("I think the answer is 7", "7"),
        ("The answer to the question is 7", "7"),
        ("The answer is Paris because it is the capital.", "Paris"),
        ("The answer is St. Louis", "St. Louis"),
        ("The correct answer is 7. I hope this helps!", "7"),
        ("The answer is:\n\n$$7$$", "$$7$$"),
        ("## Final Answer\n\n42", "42"),
        ("Answer - B", "B"),
        ("Answer: B\n\nExplanation: A has legs.", "B"),
        ("**Answer:** 7\n\nI hope this helps!", "7"),
        ("so it is\n$$\n7\n$$", "7"),
        ("```smiles\nCCO\n```", "CCO"),
        ("7\n\nLet me know if you have questions.", "7"),
        ("The answer is 7.\nAnswer: 7", "7"),
    ],
)
def test_auto_reads_what_a_response_marks_as_its_answer(response: str, answer: str) -> None:
    assert final_answer(response, where="auto", on_many="reject").text == answer


@pytest.mark.parametrize(
    ("response", "tag"),
    [
        (r"<think>The answer is \boxed{7}", "no_answer"),
        ("<think>hm</think><think>The answer is 7", "no_answer"),
        ("<answer>7", "truncated"),
        ("<answer>7</answer> <answer>8</answer>", "hedged"),
        ("Answer: A\nAnswer: B\nAnswer: C", "hedged"),
        ("The answer is 7. Wait, it is 8.", "hedged"),
        (r"\boxed{7}, 8", "hedged"),
        (r"\boxed{7} and 8", "hedged"),
        (r"$\boxed{7}$; $8$.", "hedged"),
        (r"\boxed{7}. Alternatively, the answer is 8.", "hedged"),
        (r"\boxed{7} the final answer is 8", "hedged"),
        (r"\boxed{7}. Actually, it should be 8.", "hedged"),
        (r"\boxed{7}. Or maybe 8", "hedged"),
        (r"\boxed{Paris}. The answer is London.", "hedged"),
        (r"it is not \boxed{7}", "no_answer"),
        (r"half of \boxed{7}", "no_answer"),
    ],
)
def test_an_answer_that_is_hidden_taken_back_or_one_of_several_is_none(response: str, tag: str) -> None:
    found = final_answer(response, where="auto", on_many="reject")
    assert found.text is None and tag in found.tags


@pytest.mark.parametrize(
    "tail",
    [
        " is the answer.",
        ". So the answer is 7.",
        ". The answer is x = 7.",
        ". This follows because 3 + 4 = 7.",
        ", 3 of which are red.",
        "\n\n3. Next",
        ". Alternatively, we can count in 8 steps.",
        ". But 8 is too large.",
        " cm",
        ". The answer is seven.",
    ],
)
def test_an_explanation_behind_the_answer_is_no_second_one(tail: str) -> None:
    assert final_answer(r"\boxed{7}" + tail, where="auto", on_many="reject").text == "7"


def test_several_spellings_count_as_one_answer_when_each_is_right() -> None:
    def value(response: str) -> str | None:
        return final_answer(response, where="auto", on_many="reject", accepts=lambda text: float(text) == 7).text

    assert value(r"\boxed{7.0} so \boxed{7}") == "7"
    assert value(r"\boxed{7.0}, 7") == "7.0"
    assert value(r"\boxed{7.0} so \boxed{8}") is None


def test_the_last_of_several_counts_when_asked() -> None:
    assert final_answer("<answer>7</answer><answer>8</answer>", where="auto", on_many="last").text == "8"
    assert final_answer("Answer: 7\nAnswer: 8", where="auto", on_many="last").text == "8"


def test_whole_text_takes_away_a_tag_around_all_of_it_and_nothing_else() -> None:
    found = [final_answer(text, where="whole_text", on_many="reject").text for text in ("<answer>a b</answer>", "a: b")]
    assert found == ["a b", "a: b"]
