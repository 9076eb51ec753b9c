from __future__ import annotations

import json

import pytest

from rlpost.rollout.ledger import PromptLedger


def test_a_prompt_goes_from_issued_over_scored_to_trained_or_is_dropped() -> None:
    ledger = PromptLedger()
    assert [ledger.issue(version=version) for version in (0, 0, 1, 3)] == [0, 1, 2, 3]
    assert [ledger.version_of(index) for index in range(4)] == [0, 0, 1, 3]
    ledger.score(0)
    ledger.score(2)
    assert ledger.missing() == [1, 3]
    ledger.drop(1, "gold fault")
    ledger.train([0, 2])
    ledger.drop(3, "no signal")
    assert ledger.missing() == []
    assert (ledger.trained, ledger.dropped) == (2, {"gold fault": 1, "no signal": 1})


def test_state_is_the_first_open_index_and_what_overtook_it() -> None:
    ledger = PromptLedger()
    for _ in range(6):
        ledger.issue(version=0)
    for index in (0, 3, 5):
        ledger.score(index)
    ledger.train([0, 3])
    ledger.drop(4, "no signal")
    assert ledger.state() == {
        "first_open": 1,
        "finished_above": [3, 4],
        "since_train": 6,
        "trained": 2,
        "dropped": {"no signal": 1},
    }


def test_a_resumed_ledger_issues_what_was_open_and_skips_what_was_finished() -> None:
    ledger = PromptLedger()
    for _ in range(6):
        ledger.issue(version=0)
    for index in (0, 3):
        ledger.score(index)
    ledger.train([0, 3])
    ledger.drop(2, "gold fault")
    resumed = PromptLedger.from_state(json.loads(json.dumps(ledger.state())))
    assert resumed.state() == ledger.state()
    assert [resumed.issue(version=7) for _ in range(4)] == [1, 4, 5, 6]
    assert resumed.version_of(1) == 7
    resumed.score(1)
    resumed.train([1])
    assert resumed.state()["first_open"] == 4
    assert (resumed.trained, resumed.dropped, resumed.since_train) == (3, {"gold fault": 1}, 7)


def test_a_cut_has_what_was_dropped_since_the_one_before_and_what_is_open() -> None:
    ledger = PromptLedger()
    for _ in range(6):
        ledger.issue(version=0)
    ledger.drop(4, "no signal")
    ledger.drop(2, "gold fault")
    ledger.score(3)
    ledger.train([3])
    first, second = ledger.cut(), ledger.cut()
    assert (first.issued, first.open, first.dropped) == (6, (0, 1, 5), {2: "gold fault", 4: "no signal"})
    assert list(first.dropped) == [2, 4], "in order, whatever came first"
    assert (second.dropped, second.state) == ({}, first.state)
    # What was issued stays so when the stage goes on, though all that was open comes again.
    resumed = PromptLedger.from_state(first.state)
    assert (resumed.cut().issued, resumed.cut().open) == (6, (0, 1, 5))
    assert [resumed.issue(version=1) for _ in range(4)] == [0, 1, 5, 6]
    assert (resumed.cut().issued, resumed.cut().open) == (7, (0, 1, 5, 6))


def test_state_stays_small_however_long_a_run_is() -> None:
    ledger = PromptLedger()
    for _ in range(10_000):
        index = ledger.issue(version=0)
        if index % 3:
            ledger.score(index)
            ledger.train([index])
        else:
            ledger.drop(index, "no signal")
    assert len(json.dumps(ledger.state())) < 150
    assert ledger.trained + sum(ledger.dropped.values()) == 10_000


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("train", "prompt 0 is not scored"),
        ("issue train", "prompt 0 is not scored"),
        ("score", "prompt 0 is not open"),
        ("drop", "prompt 0 is not open"),
        ("issue score score", "prompt 0 was scored twice"),
        ("issue score drop", "ready to be trained"),
        ("issue score train train", "prompt 0 is not scored"),
        ("issue score train score", "prompt 0 is not open"),
        ("issue score train drop", "prompt 0 is not open"),
        ("issue drop drop", "prompt 0 is not open"),
        ("issue drop score", "prompt 0 is not open"),
    ],
)
def test_every_other_way_is_a_bug(steps: str, said: str) -> None:
    ledger = PromptLedger()
    moves = {
        "issue": lambda: ledger.issue(version=0),
        "score": lambda: ledger.score(0),
        "train": lambda: ledger.train([0]),
        "drop": lambda: ledger.drop(0, "gold fault"),
    }
    *before, last = steps.split()
    for step in before:
        moves[step]()
    with pytest.raises(AssertionError, match=said):
        moves[last]()
