"""Numbers among words: signs, scales, units, sentences, questions, and computations that are left to the reader."""

from __future__ import annotations

import pytest

from rewards.final_integer import final_integer
from rewards.number import close
from rlpost.records import Sample
from rlpost.scoring.authoring import Verifier


def scores(response: str, gold: object) -> set[float | None]:
    """Those of both verifiers of numbers; the one of integers needs a whole gold."""
    verifiers: list[Verifier] = [close, final_integer] if isinstance(gold, int) else [close]
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return {verifier.judge(sample, params=verifier.validated({})).score for verifier in verifiers}


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("1 1/2", 1.5),
        ("It takes 1 1/2 hours.", 1.5),
        ("minus 5", -5),
        ("negative 5", -5),
        ("The answer is negative 5.", -5),
        ("5 dozen", 60),
        ("2 hundred", 200),
        ("10 miles per hour", "10 mph"),
        ("10 mph", "10 miles per hour"),
        ("12 square meters", "12 m^2"),
        ("12 m²", "12 square meters"),
        ("\\boxed{5} = \\boxed{5.0}", 5),
        ("<answer>5</answer>", 5),
        ("The answer is 5 because 2+3=5.", 5),
        ("The answer is 5.\n\nLet me know!", 5),
        ("\\boxed{\\text{5 dollars}}", 5),
        ("0.333...", "1/3"),
        ("\\frac{1}{3}", "0.333..."),
        ("5 minutes", "5 min"),
        ("$5$ cm", "5 cm"),
        ("\\boxed{-\\frac12}", -0.5),
        ("It is 5 percent.", "5%"),
        ("5 units", 5),
        ("x = -5", -5),
        ("She did it 3 times.", 3),
        ("Result: 5", 5),
        ("Therefore, there are 12 ways.", 12),
        ("5 km/h", "5 km per hour"),
        ("$1,234.50", "1234.5"),
        ("7/2", 3.5),
        ("\\boxed{\\frac{7}{2}}", 3.5),
        ("It equals 3.5", 3.5),
        ("So we get 3.50 dollars", 3.5),
        ("€5", 5),
        ("5 (five)", 5),
        ("5 years old", "5 years"),
        ("**5**", 5),
        ("$$5$$", 5),
        ("The final answer is $\\boxed{5}$. I hope it is correct.", 5),
        ("5.0e0", 5),
        ("five dollars is $5", 5),
        ("5 \\text{ cm}", 5),
        ("- 5", -5),
        ("approximately 3.1416", 3.14159),
        ("= 5", 5),
        ("Answer = 5", 5),
        ("Total: 5 apples", 5),
    ],
)
def test_a_right_number_is_read_among_words(response: str, gold: object) -> None:
    assert scores(response, gold) == {1.0}


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("minus 5", 5),
        ("negative 5", 5),
        ("5 squared", 5),
        ("5 cubed", 5),
        ("half of 5", 5),
        ("half 5", 5),
        ("twice 5", 5),
        ("double 5", 5),
        ("5 doubled", 5),
        ("a third of 5", 5),
        ("a quarter of 5", 5),
        ("5 dozen", 5),
        ("5 hundred", 5),
        ("5 and a half", 5),
        ("5 percent of 10", 5),
        ("5% of 10", 5),
        ("square root of 5", 5),
        ("the square of 5", 5),
        ("5 plus 0", 5),
        ("10 minus 5", 5),
        ("10 minus 5", -5),
        ("5 times 1", 5),
        ("What is 7/2?", 3.5),
        ("what is 7/2", 3.5),
        ("Compute 7/2.", 3.5),
        ("How much is 7/2?", 3.5),
        ("7/2?", 3.5),
        ("5 million", 5),
        ("5 halves", 5),
        ("one of 5 or 6", 5),
        ("the opposite of 5", 5),
        ("the reciprocal of 5", 5),
        ("5 factorial", 5),
        ("log of 5", 5),
        ("5 to the power 1", 5),
        ("10 miles", "10 mph"),
        ("12 m", "12 m^2"),
        ("not 5", 5),
        ("5, 6", 5),
        ("between 5 and 6", 5),
        ("5 of 10", 5),
        ("15", 5),
        ("-5", 5),
        ("5 divided by 1", 5),
        ("\\boxed{5} or \\boxed{6}", 5),
        ("\\boxed{5} million", 5),
        ("<think>5", 5),
        ("The answer is 5. No, it is 6.", 5),
        ("thrice 5", 5),
        ("5 kg", "5 g"),
        ("-\\boxed{5}", 5),
        ("I bought 5 apples and 6 pears", 5),
        ("5.1", 5),
        ("1 1/2", 1),
        ("2 1/2", 2),
        ("5-1", 5),
        ("$5 \\times 10^{3}$", 5),
        ("5\u00d710^3", 5),
        ("five", 5),
        ("5%", 0.05),
        ("1/2 of 5", 5),
        ("0.5 of 10", 0.5),
    ],
)
def test_words_that_change_a_number_are_not_overlooked(response: str, gold: object) -> None:
    assert scores(response, gold) == {0.0}
