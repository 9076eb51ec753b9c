from __future__ import annotations

import pytest

from rlpost.telemetry.account import stage_account, step_account


def test_parts_and_the_rest_add_up_to_the_step() -> None:
    account = step_account(10.0, generate=4.0, score=0.5, train=3.0, sync=0.5)
    assert account == {
        "time/step_s": 10.0,
        "time/generate_s": 4.0,
        "time/score_s": 0.5,
        "time/train_s": 3.0,
        "time/sync_s": 0.5,
        "time/other_s": 2.0,
        "time/other_share": 0.2,
    }


def test_clocks_that_overlap_leave_no_negative_rest() -> None:
    assert step_account(1.0, train=1.2)["time/other_s"] == 0.0
    assert step_account(0.0)["time/other_share"] == 0.0


def test_an_unknown_part_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="eat"):
        step_account(1.0, eat=0.5)


def test_a_stages_shares_weigh_long_steps_more_and_sum_to_one() -> None:
    records = [step_account(1.0, generate=0.5, train=0.25), step_account(3.0, generate=0.5, train=1.75)]
    assert stage_account(records) == {"generate": 0.25, "train": 0.5, "other": 0.25}


def test_a_stage_without_steps_has_no_shares() -> None:
    assert stage_account([]) == {}
    assert stage_account([{"step": 0, "loss": 1.0}]) == {}
