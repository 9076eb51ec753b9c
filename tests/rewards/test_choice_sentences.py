"""Choices as sentences, lists and denials name them."""

from __future__ import annotations

import pytest

from rewards.choice import letter, multi
from rlpost.records import Sample
from rlpost.scoring.authoring import Verifier


def score(verifier: Verifier, response: str, gold: object, choices: list[str]) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold, meta={"choices": choices})
    return verifier.judge(sample, params=verifier.validated({})).score


CHOICES = ["Paris", "London", "A cat", "Vitamin C"]
CITIES = ["Paris", "London", "Rome", "Oslo"]


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("<answer>B</answer>", "B"),
        ("<answer>(B) London</answer>", "B"),
        ("Answer - B", "B"),
        ("Answer \u2013 B", "B"),
        ("Answer: **B**", "B"),
        ("so B", "B"),
        ("It is in England, so B", "B"),
        ("It is in England, so B.", "B"),
        ("So the answer must be B.", "B"),
        ("Not A, therefore B.", "B"),
        ("Not B, therefore D", "D"),
        ("Not A, C or D, so B.", "B"),
        ("neither A nor C, so B", "B"),
        ("B, not A", "B"),
        ("The answer is B, not A.", "B"),
        ("The correct option is B, not A.", "B"),
        ("B rather than A", "B"),
        ("It is B and not C.", "B"),
        ("A is wrong. B is correct.", "B"),
        ("A, C and D are wrong, so B", "B"),
        ("The correct answer is **(B)** London.\n\nI hope this helps!", "B"),
        ("B\n\nExplanation: London is in England.", "B"),
        ("Answer: B\n\nExplanation: Paris is in France.", "B"),
        ("**B**\n\nLondon is the capital of England.", "B"),
        ("(B) London\n\nBecause it is the capital.", "B"),
        ("The correct option is B.\n\nThe capital of England is London.", "B"),
        ("\\boxed{B}", "B"),
        ("\\boxed{\\text{B. London}}", "B"),
        ("\\boxed{\\text{(B)}}", "B"),
        ("\\boxed{London}", "B"),
        ("\\boxed{\\mathbf{B}}", "B"),
        ("B. London", "B"),
        ("B) London", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("Option B: London", "B"),
        ("I would choose option b.", "B"),
        ("The answer is London.", "B"),
        ("London", "B"),
        ("I think it's B", "B"),
        ("Final answer: (B)", "B"),
        ("My answer is B.", "B"),
        ("The best choice is B", "B"),
        ("B is the correct answer.", "B"),
        ("The answer is C because cats purr.", "C"),
        ("A cat", "C"),
        ("The answer is (A).", "A"),
        ("Answer: A", "A"),
        ("so A", "A"),
        ("Therefore, A.", "A"),
        ("I choose A", "A"),
        ("Answer: D. Vitamin C", "D"),
        ("Vitamin C", "D"),
        ("The answer is B since it is the capital", "B"),
        ("<think>A? C?</think>\nB", "B"),
        ("Eliminating A and C leaves B.", "B"),
        ("B - London", "B"),
        ("B: London", "B"),
        ("'B'", "B"),
        ('"B"', "B"),
        ("`B`", "B"),
        ("Answer:\nB", "B"),
        ("### Answer\nB", "B"),
        ("The answer is: B", "B"),
        ("The answer is option B", "B"),
        ("Choice B", "B"),
        ("I'd go with B.", "B"),
        ("Answer = B", "B"),
        ("B!", "B"),
    ],
)
def test_a_choice_is_read_where_a_person_would_read_it(response: str, gold: str) -> None:
    assert score(letter, response, gold, CHOICES) == 1.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("C", "B"),
        ("A or B", "B"),
        ("A, B", "B"),
        ("A and B", "B"),
        ("not B", "B"),
        ("The answer is not B", "B"),
        ("The answer cannot be B.", "B"),
        ("B is false", "B"),
        ("(B) is false", "B"),
        ("B is wrong", "B"),
        ("B is incorrect.", "B"),
        ("B is not correct", "B"),
        ("(B) is not the answer", "B"),
        ("Eliminate B", "B"),
        ("everything except B", "B"),
        ("choose B if sunny, otherwise nothing", "B"),
        ("B if it rains", "B"),
        ("B, unless it is A", "B"),
        ("Either B or C", "B"),
        ("B or C", "B"),
        ("Answer: A\nAnswer: B\nAnswer: C\nAnswer: D", "D"),
        ("Answer: A\nAnswer: B", "B"),
        ("The answer is A. The answer is B.", "B"),
        ("A B C D", "B"),
        ("A\nB\nC\nD", "B"),
        ("A. Paris\nB. London\nC. A cat\nD. Vitamin C", "B"),
        ("B) Paris", "B"),
        ("Not B, therefore D", "B"),
        ("A, not B", "B"),
        ("neither A nor B", "B"),
        ("A dog", "A"),
        ("I do not know", "A"),
        ("Vitamin C", "C"),
        ("<think>B", "B"),
        ("\\boxed{A} \\boxed{B}", "B"),
        ("The answer is A.\n\nActually, B", "B"),
        ("", "B"),
        ("none of them", "B"),
        ("Paris", "B"),
        ("It depends: B", "B"),
        ("B?\nNo: C", "B"),
        ("Both B and C are right", "B"),
        ("\u0412", "B"),
        ("not A", "B"),
        ("B isn't right", "B"),
        ("The answer isn't B, it is C", "B"),
        ("A cat sat on B", "A"),
    ],
)
def test_a_choice_that_is_denied_hedged_or_not_named_is_not_paid(response: str, gold: str) -> None:
    assert score(letter, response, gold, CHOICES) == 0.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("A. Paris\nC. Rome", ["A", "C"]),
        ("- A. Paris\n- C. Rome", ["A", "C"]),
        ("Answers:\nA. Paris\nC. Rome", ["A", "C"]),
        ("A\nC", ["A", "C"]),
        ("A, C", ["A", "C"]),
        ("A and C", ["A", "C"]),
        ("A & C", ["A", "C"]),
        ("Both A and C", ["A", "C"]),
        ("A and C are correct.", ["A", "C"]),
        ("The correct answers are A and C.", ["A", "C"]),
        ("<answer>A, C</answer>", ["A", "C"]),
        ("\\boxed{A, C}", ["A", "C"]),
        ("\\boxed{\\text{A and C}}", ["A", "C"]),
        ("Paris, Rome", ["A", "C"]),
        ("Paris and Rome", ["A", "C"]),
        ("1. A\n2. C", ["A", "C"]),
        ("Answer: A, C\n\nBecause they are.", ["A", "C"]),
        ("A) Paris, C) Rome", ["A", "C"]),
        ("options A and C", ["A", "C"]),
        ("{A, C}", ["A", "C"]),
        ("The answer is AC", ["A", "C"]),
    ],
)
def test_several_choices_are_read_from_lists_of_every_kind(response: str, gold: list[str]) -> None:
    assert score(multi, response, gold, CITIES) == 1.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("A. Paris", ["A", "C"]),
        ("A. Paris\nB. London\nC. Rome", ["A", "C"]),
        ("A. Paris\nC. Rome\nD. Oslo", ["A", "C"]),
        ("A, B, C", ["A", "C"]),
        ("A or C", ["A", "C"]),
        ("not A, C", ["A", "C"]),
        ("A. Rome\nC. Paris", ["A", "C"]),
        ("A, B, C, D", ["A", "C"]),
    ],
)
def test_other_choices_are_not_paid(response: str, gold: list[str]) -> None:
    assert score(multi, response, gold, CITIES) == 0.0
