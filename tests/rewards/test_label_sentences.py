"""Labels and short texts as sentences, tags, boxes and quotes name them."""

from __future__ import annotations

from typing import Any

import pytest

from rewards.label import label_set
from rewards.text import exact
from rlpost.records import Sample

SENTIMENTS = {"labels": ["positive", "negative", "neutral"]}


def labelled(response: str, gold: object, meta: dict[str, Any] | None = None, **params: object) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta=meta or {})
    return label_set.judge(sample, params=label_set.validated(params)).score


def written(response: str, gold: str) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return exact.judge(sample, params=exact.validated({"where": "auto"})).score


@pytest.mark.parametrize("meta", [SENTIMENTS, {}], ids=["known labels", "any label"])
@pytest.mark.parametrize(
    "response",
    [
        "positive",
        "positive.",
        "**positive**",
        '"positive"',
        "`positive`",
        "Label: positive",
        "Sentiment: positive",
        "Category: positive",
        "Classification: **positive**",
        "Prediction: positive",
        "Answer: positive",
        "The answer is positive.",
        "The sentiment is positive.",
        "The sentiment of the text is positive.",
        "The overall sentiment is clearly positive.",
        "I think it's positive.",
        "I think it is positive",
        "The text is positive",
        "This review is positive",
        "I would say positive",
        "It expresses a positive sentiment.",
        "positive sentiment",
        "<answer>positive</answer>",
        "\\boxed{\\text{positive}}",
        "\\boxed{positive}",
        "sentiment = positive",
        'The label is "positive".',
        "I would classify this as positive.",
        "The review is very positive.",
        '["positive"]',
        "Some words.\n\nSentiment: positive",
        "positive!",
        "The sentiment is: positive",
        "<think>negative?</think>positive",
        "POSITIVE",
        "{positive}",
        "Therefore, the sentiment is positive.",
        "Final label: positive",
    ],
)
def test_a_label_is_read_from_a_sentence(response: str, meta: dict[str, Any]) -> None:
    assert labelled(response, "positive", meta) == 1.0


@pytest.mark.parametrize("meta", [SENTIMENTS, {}], ids=["known labels", "any label"])
@pytest.mark.parametrize(
    "response",
    [
        "negative",
        "something else=positive",
        "not positive",
        "The sentiment is not positive.",
        "It isn't positive",
        "positive or negative",
        "positive, negative",
        "either positive or negative",
        "The text is positive and negative",
        "neither positive nor negative",
        "positive if sarcastic",
        "less positive than negative",
        "The label is negative, not positive",
        "positive negative neutral",
        "Label: negative",
        "<think>positive",
        "The sentiment is negative.",
        "Is it positive?",
        "maybe it is positive or neutral",
        "unknown",
        "",
        "The sentiment is positive but negative",
        "hardly positive",
        "never positive",
    ],
)
def test_a_label_that_is_denied_or_hedged_is_not_paid(response: str, meta: dict[str, Any]) -> None:
    assert labelled(response, "positive", meta) == 0.0


@pytest.mark.parametrize(
    "response",
    [
        "Labels: sports, politics",
        "The topics are sports and politics.",
        "sports\npolitics",
        "- sports\n- politics",
        "It is about both sports and politics",
    ],
)
def test_several_labels_are_read_from_lists_of_every_kind(response: str) -> None:
    where = "whole_text" if "\n" in response else "auto"
    assert labelled(response, ["politics", "sports"], where=where) == 1.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("Paris", "Paris"),
        ("paris.", "Paris"),
        ('"Paris"', "Paris"),
        ("'Paris'", "Paris"),
        ("\u201cParis\u201d", "Paris"),
        ("**Paris**", "Paris"),
        ("`Paris`", "Paris"),
        ("<answer>Paris</answer>", "Paris"),
        ("<answer>\nParis\n</answer>", "Paris"),
        ("\\boxed{Paris}", "Paris"),
        ("\\boxed{\\text{Paris}}", "Paris"),
        ("\\boxed{\\mathrm{Paris}}", "Paris"),
        ("$\\boxed{\\textbf{Paris}}$", "Paris"),
        ("The answer is Paris.", "Paris"),
        ("The answer is: Paris", "Paris"),
        ('The final answer is "Paris".', "Paris"),
        ("Answer: Paris", "Paris"),
        ("**Answer:** Paris", "Paris"),
        ("**Answer**: Paris", "Paris"),
        ("So the answer is **Paris**.", "Paris"),
        ("Final Answer: Paris\n\nHope this helps!", "Paris"),
        ("Some thought.\nParis", "Paris"),
        ("<think>London</think>Paris", "Paris"),
        ("\\boxed{Paris} so \\boxed{\\text{paris}}", "Paris"),
        ("The correct answer is Paris because it is the capital.", "Paris"),
        ("Answer:\nParis", "Paris"),
        ("```\nParis\n```", "Paris"),
        ("My answer is Paris", "Paris"),
        ("The answer should be Paris.", "Paris"),
        ("\xabParis\xbb", "Paris"),
        ('Paris."', "Paris"),
        ("\\boxed{\\text{R\\&D}}", "R&D"),
        ("St. Louis.", "St. Louis"),
        ("The answer is St. Louis.", "St. Louis"),
        ("U.S.", "U.S."),
        ("U.S", "U.S."),
        ("The answer is U.S.", "U.S."),
        ("The answer is New York City.", "New York City"),
        ("46", "46"),
        ("yes", "Yes."),
        ("The answer is J. K. Rowling.", "J. K. Rowling"),
        ("\\boxed{\\text{New York}}", "New York"),
        ("\\boxed{New\\ York}", "New York"),
    ],
)
def test_a_text_is_the_gold_whatever_stands_around_it(response: str, gold: str) -> None:
    assert written(response, gold) == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "London",
        "Paris or London",
        "Paris, France",
        "Paris Paris",
        "not Paris",
        "The answer is not Paris",
        "The answer is London.",
        "<answer>London</answer>",
        "<think>Paris",
        "\\boxed{Rome} \\boxed{Paris}",
        "\\boxed{Paris}. The answer is London.",
        "The answer is Paris. Wait, the answer is London.",
        "Answer: Paris\nAnswer: London",
        "",
        "Parisian",
        "\\boxed{Paris",
        '"Paris" or "London"',
        "It could be Paris",
        "P a r i s",
    ],
)
def test_another_text_is_not_the_gold(response: str) -> None:
    assert written(response, "Paris") == 0.0
