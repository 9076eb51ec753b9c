"""rlpost's losses and advantages equal a float64 reference that was written from the papers alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from float64_departures import departures
from float64_reference import reference_answers
from guide_steps import guide_text
from oracle_cases import POLICY, Answers, batch, papers
from oracle_ours import our_answers

ours, reference = cache(our_answers), cache(reference_answers)


def differences(mine: Answers, theirs: Answers, name: str) -> tuple[float, float]:
    """The largest of the values, and of the gradient."""
    values = np.abs(np.subtract(mine[name].values, theirs[name].values)).max()
    slopes = np.abs(np.subtract(mine[name].gradient, theirs[name].gradient))
    return float(values), float(slopes.max(initial=0.0))


@pytest.mark.parametrize("name", [name for name, _ in papers()])
def test_equals_the_reference(name: str) -> None:
    values, slopes = differences(ours(), reference(), name)
    # Whitening differs by the order of its sums alone; a central difference with steps of 1e-6 is right to 1e-9.
    assert values < 1e-12, f"{name}: the values differ by {values:.1e}"
    assert slopes < 1e-8, f"{name}: the gradients differ by {slopes:.1e}"


def test_every_answer_has_its_paper() -> None:
    names = [name for name, _ in papers()]
    assert sorted(ours()) == sorted(reference()) == sorted(names)


def test_the_page_shows_every_case_and_that_rlpost_agrees() -> None:
    page = guide_text("oracle.md")
    rows = [
        row.split(" | ")[:2] for row in page.split("\n## ")[0].splitlines() if row.startswith("| ") and row[2] != "|"
    ]
    assert [(name.removeprefix("| "), difference) for name, difference in rows] == [
        (name, "< 1e-8") for name, _ in papers()
    ]


def test_the_page_lists_every_departure_and_each_departs() -> None:
    rows = [row.split(" | ") for row in guide_text("oracle.md").split("\n## ")[1].splitlines() if row.startswith("| ")]
    listed = {(who, name.removeprefix("| ")) for name, who, *_ in rows[1:]}
    assert listed == set(departures())
    for (who, name), answer in departures().items():
        assert max(differences({name: answer}, reference(), name)) > 1e-6, f"{who} does not depart at {name}"


def test_the_batch_reaches_every_clip_and_both_signs() -> None:
    data = batch()
    ratios_T = np.exp(data.logprobs_BT - data.proximal_BT)[data.is_token_BT]
    advantages_T = data.advantages_BT[data.is_token_BT]
    assert ((ratios_T > 1.3) & (advantages_T > 0)).any()
    assert ((ratios_T < 0.8) & (advantages_T < 0)).any()
    assert ((ratios_T > 1.35) & (advantages_T < 0)).any()
    centres = [reference()[name].values for name in POLICY if name.startswith("proximal")]
    plain = reference()["ppo_clip, mean over tokens"].values
    corrected = [name for name, case in POLICY.items() if case.correction != "none" and case.proximal == "recompute"]
    assert len(corrected) == 5
    assert len(centres) == 3 and plain not in centres
    assert [name for name in corrected if reference()[name].values == plain] == []
