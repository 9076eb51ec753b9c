"""Forms of right answers that people write, with wrong ones of the same form beside them."""

from __future__ import annotations

from typing import Any

import pytest

from rewards.chem import smiles
from rewards.choice import letter
from rewards.label import label_set
from rewards.math import equivalent
from rewards.text import exact
from rewards.units import quantity
from rlpost.records import Sample
from rlpost.scoring.authoring import Verifier


def score(verifier: Verifier, response: str, gold: Any, **params: Any) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return verifier.judge(sample, params=verifier.validated(params)).score


MATRIX = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("[[1,2],[3,4]]", MATRIX, 1.0),
        ("[[1,2],[3,5]]", MATRIX, 0.0),
        ("[[1,3],[2,4]]", MATRIX, 0.0),
        ("[1,2,3,4]", MATRIX, 0.0),
        (MATRIX, "[[1,2],[3,4]]", 1.0),
        (r"\begin{pmatrix}1&2\cr 3&4\end{pmatrix}", MATRIX, 1.0),
        (r"]-\infty,3[", r"(-\infty,3)", 1.0),
        (r"]-\infty,3]", r"(-\infty,3]", 1.0),
        (r"[1,3[", "[1,3)", 1.0),
        (r"]-\infty,3]", r"(-\infty,3)", 0.0),
        (r"]1,2[ \cup ]3,4[", r"(1,2) \cup (3,4)", 1.0),
        (r"30^\circ", r"\frac{\pi}{6}", 1.0),
        (r"\frac{\pi}{6}", r"30^\circ", 1.0),
        (r"31^\circ", r"\frac{\pi}{6}", 0.0),
        (r"10^{-1}", "0.1", 1.0),
        (r"10^{-2}", "0.1", 0.0),
        (r"7^{1000000}", r"7^{1000000}", 1.0),
        (r"7^{1000001}", r"7^{1000000}", 0.0),
    ],
)
def test_mathematics(answer: str, gold: str, expected: float) -> None:
    assert score(equivalent, rf"\boxed{{{answer}}}", gold) == expected


@pytest.mark.parametrize(
    ("response", "gold", "expected"),
    [
        ("5 m (500 cm)", "5 m", 1.0),
        ("5 m (600 cm)", "5 m", 0.0),
        ("5 m = 500 cm", "5 m", 1.0),
        ("5 m = 600 cm", "5 m", 0.0),
        ("5 m (about 16.4 ft)", "5 m", 1.0),
        ("F = m a = 2 kg * 3 m/s^2 = 6 N", "6 N", 1.0),
        ("5 Kg", "5 kg", 1.0),
        ("12 N-m", "12 J", 1.0),
        ("25 C", "25 °C", 1.0),
        ("77 F", "25 °C", 1.0),
        ("25 C", "25 K", 0.0),
        ("5 C", "5 coulomb", 1.0),
        ("$5.20", "5.20 USD", 1.0),
        ("5.20 dollars", "$5.20", 1.0),
        ("$5 million", "5000000 USD", 1.0),
        ("€5", "5 USD", 0.0),
        ("5", "5 USD", 0.0),
    ],
)
def test_quantities(response: str, gold: str, expected: float) -> None:
    assert score(quantity, response, gold) == expected


@pytest.mark.parametrize(
    ("response", "gold", "expected"),
    [
        ("positive, not negative", "positive", 1.0),
        ("positive (not negative)", "positive", 1.0),
        ("positive, not negative", "negative", 0.0),
        ("not positive", "positive", 0.0),
        ("- sports\n- law", ["law", "sports"], 1.0),
        ("Labels:\n- sports\n- law", ["law", "sports"], 1.0),
        ("1. sports\n2. law", "law", 0.0),
        ("law\nsports", "sports", 0.0),
        ("sports / law", ["law", "sports"], 1.0),
        ("world_news", "world news", 1.0),
        ("World News", "world-news", 1.0),
        ("positive\n\nThe reviewer liked the food.", "positive", 1.0),
        ("positive\n\nActually it is negative.", "positive", 0.0),
        ("positive\nnegative tone overall", "positive", 0.0),
    ],
)
def test_labels(response: str, gold: Any, expected: float) -> None:
    assert score(label_set, response, gold) == expected


def test_an_explanation_that_names_another_known_label_is_no_answer() -> None:
    text = "positive\n\nSome would call it negative."
    assert score(label_set, text, "positive") == 1.0
    assert score(label_set, text, "positive", labels=["positive", "negative"]) == 0.0


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<answer>Paris</answer>\nLondon", 0.0),
        ("The answer is Paris.\nLondon", 0.0),
        (r"\boxed{Paris}" + "\nLondon", 0.0),
        (r"\boxed{Paris}" + "\nparis", 1.0),
        ("<answer>Paris</answer>\nDone.", 1.0),
        ("<answer>Paris</answer>\n\nI hope this helps!", 1.0),
        ("<answer>Paris</answer>\nParis is the capital of France.", 1.0),
    ],
)
def test_a_bare_line_behind_an_answer_in_words_is_a_second_answer(response: str, expected: float) -> None:
    assert score(exact, response, "Paris", where="auto") == expected


@pytest.mark.parametrize("response", ["C is tempting, but B is the answer", "Only B", "B only", "Not A, but B"])
def test_a_choice_beside_one_that_is_turned_down(response: str) -> None:
    assert score(letter, response, "B") == 1.0
    assert score(letter, response, "C") == 0.0


def test_a_molecule_behind_its_name() -> None:
    assert score(smiles, "ethanol (CCO)", "CCO") == 1.0
    assert score(smiles, "ethanol (CCN)", "CCO") == 0.0
    assert score(smiles, "not ethanol (CCO)", "CCO") == 0.0
