from __future__ import annotations

import pytest

from rewards.choice import letter, multi
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier

CHOICES = ["Vitamin C", "E. coli", "Paris", "A cat"]


def judged(verifier: Verifier, response: str, gold: object, choices: object = None, **params: object) -> Verdict:
    meta = {} if choices is None else {"choices": choices}
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta=meta)
    return verifier.judge(sample, params=verifier.validated(params))


@pytest.mark.parametrize("verifier", [letter, multi], ids=["letter", "multi"])
@pytest.mark.parametrize(
    ("gold", "choices"),
    [
        ("E", CHOICES),
        ("", None),
        (7.5, None),
        (True, None),
        ({"a": 1}, None),
        ("B", "ABCD"),
        ("B", []),
        ("B", ["a", ""]),
    ],
)
def test_a_gold_or_choices_that_cannot_be_read_are_a_gold_fault(
    verifier: Verifier, gold: object, choices: object
) -> None:
    assert judged(verifier, "B", gold, choices).fault is Fault.GOLD


@pytest.mark.parametrize(
    "response",
    [
        "B",
        "b",
        "(B)",
        "[b]",
        "B.",
        "**B**",
        "Option B",
        "The correct option is (b).",
        "I choose B",
        "B is correct.",
        "B because it is a bacterium",
        "(B) Because the others are not",
        "Answer: B. E. coli",
        "B) E. coli",
        "B: e. COLI",
        "e. coli",
        "So the answer is B.",
        r"$\boxed{\mathrm{B}}$",
        "\uff22",
        "\u0996",
        "\u0628",
        "Reasoning about A and C.\nAnswer: B",
        "<think>A? C?</think>B",
    ],
)
def test_letter_reads_a_choice_that_is_named(response: str) -> None:
    verdict = judged(letter, response, "B", CHOICES)
    assert (verdict.score, verdict.parsed) == (1.0, "B"), verdict


@pytest.mark.parametrize(
    "response",
    [
        "A/B",
        "AB",
        "B+",
        "neither A nor B",
        "not B",
        "The answer isn't B",
        "everything except B",
        "B or C",
        "either B",
        "a b",
        "B) Paris",
        "B cells are lymphocytes",
        "Hepatitis B",
        "\u0412",
        "B\u0301",
        "BB",
        "(A) (B) (C) (D)",
        "Both B and C",
        "",
        "B" * 3000,
        r"\boxed{A} \boxed{B}",
        r"\boxed{B",
    ],
)
def test_letter_pays_no_hedge_denial_or_accident(response: str) -> None:
    assert judged(letter, response, "B", CHOICES).score == 0.0


@pytest.mark.parametrize(
    ("response", "gold", "score"),
    [
        ("A cat", "D", 1.0),
        ("A cat", "A", 0.0),
        ("A dog", "A", 0.0),
        ("A because it is acid", "A", 1.0),
        ("Vitamin C", "C", 0.0),
        ("Vitamin C", "A", 1.0),
        ("I think so", "I", 0.0),
    ],
)
def test_letter_tells_labels_from_articles_pronouns_and_texts(response: str, gold: str, score: float) -> None:
    choices = [*CHOICES, "f", "g", "h", "i", "j"]
    assert judged(letter, response, gold, choices).score == score


def test_letter_takes_the_last_of_several_only_when_asked() -> None:
    assert judged(letter, "Option A. No: option B.", "B", CHOICES, on_many="last").score == 1.0


def test_a_text_of_two_choices_names_neither() -> None:
    assert judged(letter, "yes", "A", ["yes", "yes"]).score == 0.0


def test_labels_of_a_mapping_are_those_that_count() -> None:
    choices = {"i": "one", "ii": "two"}
    assert [judged(letter, response, "ii", choices).score for response in ("ii", "two", "(II)", "B")] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("response", "gold", "partial", "score"),
    [
        ("A,C", ["A", "C"], False, 1.0),
        ("C and A", "A, C", False, 1.0),
        ("(A), (C)", "AC", False, 1.0),
        ("ac", ["A", "C"], False, 0.0),
        ('["A", "C"]', ["A", "C"], False, 1.0),
        ("Vitamin C; Paris", ["A", "C"], False, 1.0),
        ("Paris", ["C"], False, 1.0),
        ("A", ["A", "C"], True, 0.5),
        ("A, B, C", ["A", "C"], True, 0.5),
        ("A, B", ["A", "C"], True, 0.0),
        ("A, B, C, D", ["A", "C", "D"], True, 0.0),
        ("A, B, C, D", ["A", "B", "C", "D"], False, 1.0),
        ("A, C, E", ["A", "C"], True, 0.0),
        ("A or C", ["A", "C"], True, 0.0),
        ("", ["A", "C"], True, 0.0),
        ("A, C and something else", ["A", "C"], True, 0.0),
    ],
)
def test_multi_pays_exact_sets_and_partial_ones_when_asked(
    response: str, gold: object, partial: bool, score: float
) -> None:
    assert judged(multi, response, gold, CHOICES, partial=partial).score == pytest.approx(score)


def test_multi_reports_precision_and_recall() -> None:
    assert judged(multi, "A, B, C", ["A", "D"], CHOICES).parts == {"precision": pytest.approx(1 / 3), "recall": 0.5}
