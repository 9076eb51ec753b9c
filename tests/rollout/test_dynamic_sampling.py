from __future__ import annotations

import pytest
from fakes import make_group, scored
from in_order import in_order

from rlpost.records import Fault, RolloutGroup, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.ledger import PromptLedger

BROKEN = Verdict(fault=Fault.INFRA, reason="the judge is down")
FLOOR = Verdict(fault=Fault.POLICY, score=0.0, reason="the verifier ran out of time")


def own_scores(group: RolloutGroup) -> list[float]:
    return [verdict.score for verdict in group.verdicts if verdict.score is not None]


def filter_of(*, prompts_per_step: int = 4, max_refill: float = 2.5, since: int = 0) -> SignalFilter:
    state = PromptLedger().state() | {"first_open": since, "since_train": since}
    buffer = RolloutBuffer(
        prompts_per_step=prompts_per_step,
        max_staleness=0,
        version=0,
        last_version=10**6,
        ledger=PromptLedger.from_state(state),
        order=in_order(),
    )
    return SignalFilter(buffer, max_refill=max_refill, scores=own_scores)


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (scored(1, 1, 1), "no signal"),
        (scored(1, 0, 1), None),
        (scored(0.5, 0.5 + 1e-9), None),
        ([*scored(1, 1), BROKEN], "no signal"),
        ([*scored(1, 0), BROKEN], None),
        ([*scored(1), BROKEN], "no signal"),
        ([BROKEN, BROKEN], "no signal"),
        ([*scored(0), FLOOR], "no signal"),
        ([*scored(1), FLOOR], None),
    ],
)
def test_a_group_is_left_out_when_all_valid_scores_are_equal(verdicts: list[Verdict], reason: str | None) -> None:
    assert filter_of()(make_group(verdicts)) == reason


@pytest.mark.parametrize("since", [0, 50])
def test_after_the_limit_every_group_is_kept(since: int) -> None:
    keep = filter_of(since=since)
    # 2.5 times 4 prompts a step: ten prompts since the last take may be left out.
    reasons = [keep(make_group(scored(1, 1), index=since + place)) for place in range(14)]
    assert reasons == ["no signal"] * 10 + [None] * 4
    assert keep(make_group(scored(1, 0), index=since)) is None


def test_the_limit_counts_anew_from_every_take() -> None:
    buffer = RolloutBuffer(
        prompts_per_step=2,
        max_staleness=1,
        version=0,
        last_version=10**6,
        ledger=PromptLedger(),
        order=in_order(),
    )
    keep = SignalFilter(buffer, max_refill=1.0, scores=own_scores)
    assert buffer.reserve(timeout_s=0) == [0, 1, 2, 3]
    equal = [make_group(scored(1, 1), index=index) for index in range(10)]
    assert [keep(group) for group in equal[:4]] == ["no signal", "no signal", None, None]
    for group in equal[:2]:
        buffer.drop(group.index, "no signal")
    for group in equal[2:4]:
        buffer.put(group)
    assert buffer.reserve(timeout_s=0) == [4, 5]
    buffer.take(version=0, timeout_s=0)
    # 4 and 5 were open at the take: they may be left out besides the two that are issued next.
    assert [keep(group) for group in equal[4:10]] == ["no signal"] * 4 + [None] * 2
