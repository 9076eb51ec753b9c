from __future__ import annotations

import numpy as np
import pytest

from rlpost.errors import RewardError
from rlpost.records import Fault, Prompt, Rollout, RolloutGroup, Verdict, VersionSpan
from rlpost.rollout.faults import refuse_if_nothing_was_judged


def test_a_batch_in_which_nothing_was_judged_is_no_low_reward() -> None:
    broken = Verdict(score=0.0, fault=Fault.POLICY, reason="the verifier raised KeyError: 'nope'", version="mine@1")
    sound = Verdict(score=0.0, version="mine@1")
    rollout = Rollout(
        key=("0:p", 0),
        token_ids=np.array([1], np.int32),
        logprobs_T=np.zeros(1, np.float32),
        version_spans=(VersionSpan(start=0, stop=1, version=0),),
        finish="stop",
        text="x",
        seconds=0.1,
    )
    prompt = Prompt(id="p", dataset="d", messages=(), token_ids=np.array([1], np.int32), gold=None, meta={})

    def group(*verdicts: Verdict) -> RolloutGroup:
        return RolloutGroup(prompt=prompt, index=0, rollouts=(rollout,) * len(verdicts), verdicts=verdicts)

    refuse_if_nothing_was_judged([group(broken, sound), group(broken, broken)])
    with pytest.raises(RewardError, match=r"at least one of 4 samples; .* \(policy, mine@1\): .* KeyError: 'nope'"):
        refuse_if_nothing_was_judged([group(broken, broken), group(broken, broken)])
